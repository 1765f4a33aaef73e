// steer_case.cpp - headers written out
#include "tests/steer/steer_case.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>

#include <cstring>

namespace underpass::test {

namespace {

const char* const kCounterNames[] = {
#define X(name, help) #name,
    UP_STEER_COUNTERS(X)
#undef X
};

size_t write_ipv4(uint8_t* at, const FrameSpec& spec) {
  iphdr ip{};
  ip.version = spec.version & 0xf;
  ip.ihl = spec.header_words & 0xf;
  ip.protocol = spec.protocol;
  ip.frag_off = htons(spec.fragment);
  ip.saddr = address_of(spec.from).v4();
  ip.daddr = address_of(spec.to).v4();
  std::memcpy(at, &ip, sizeof ip);
  return sizeof ip;
}

size_t write_ipv6(uint8_t* at, const FrameSpec& spec) {
  ip6_hdr ip{};
  ip.ip6_vfc = static_cast<uint8_t>(spec.version << 4);
  ip.ip6_plen = htons(sizeof(tcphdr));
  ip.ip6_nxt = spec.protocol;
  std::memcpy(&ip.ip6_src, address_of(spec.from).bytes.data(), sizeof ip.ip6_src);
  std::memcpy(&ip.ip6_dst, address_of(spec.to).bytes.data(), sizeof ip.ip6_dst);
  std::memcpy(at, &ip, sizeof ip);
  return sizeof ip;
}

SteerCounters expected_counters(const Case& one, size_t bytes) {
  SteerCounters expected{};
  expected[UP_STEER_frames] = 1;
  expected[one.counter] = 1;
  if (one.counter == UP_STEER_tcp_frames) expected[UP_STEER_tcp_bytes] = bytes;
  if (one.counter == UP_STEER_raw_frames) expected[UP_STEER_raw_bytes] = bytes;
  if (one.counter == UP_STEER_udp_frames) expected[UP_STEER_udp_bytes] = bytes;
  return expected;
}

}  // namespace

IpAddress address_of(const char* text) {
  in_addr v4{};
  if (::inet_pton(AF_INET, text, &v4) == 1) return IpAddress::from_v4(v4.s_addr);
  in6_addr v6{};
  cr_assert_eq(::inet_pton(AF_INET6, text, &v6), 1);
  return IpAddress::from_v6(v6);
}

std::vector<uint8_t> frame_of(const FrameSpec& spec) {
  std::vector<uint8_t> frame(2048);
  ethhdr ethernet{};
  ethernet.h_proto = htons(spec.ether_type);
  std::memcpy(frame.data(), &ethernet, sizeof ethernet);
  uint8_t* const ip = frame.data() + sizeof ethernet;
  const size_t ip_bytes =
      spec.ether_type == ETH_P_IPV6 ? write_ipv6(ip, spec) : write_ipv4(ip, spec);
  const uint16_t ports[] = {htons(spec.from_port), htons(spec.to_port)};
  std::memcpy(ip + ip_bytes, ports, sizeof ports);
  ip[ip_bytes + 13] = spec.tcp_flags;
  frame.resize(spec.bytes != 0 ? spec.bytes : sizeof ethernet + ip_bytes + sizeof(tcphdr));
  return frame;
}

up_flow_key flow_key(const char* local, uint16_t local_port, const char* remote,
                     uint16_t remote_port) {
  up_flow_key key{};
  std::memcpy(key.local_ip, address_of(local).bytes.data(), sizeof key.local_ip);
  key.local_port = htons(local_port);
  if (remote != nullptr) {
    std::memcpy(key.remote_ip, address_of(remote).bytes.data(), sizeof key.remote_ip);
    key.remote_port = htons(remote_port);
  }
  key.protocol = IPPROTO_TCP;
  return key;
}

void expect_case(SteerFixture& steer, const Case& one) {
  const std::vector<uint8_t> frame = frame_of(one.frame);
  const int verdict = steer.run(frame.data(), frame.size());
  cr_expect_eq(verdict, one.verdict, "%s: verdict %d", one.name, verdict);
  const SteerCounters counters = steer.counters();
  const SteerCounters expected = expected_counters(one, frame.size());
  for (size_t i = 0; i < counters.size(); ++i) {
    cr_expect_eq(counters[i], expected[i], "%s: %s is %lu", one.name, kCounterNames[i],
                 counters[i]);
  }
}

}  // namespace underpass::test
