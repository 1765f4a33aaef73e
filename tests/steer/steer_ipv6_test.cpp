// steer_ipv6_test.cpp - IPv6 frames as data, run through the steering program
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <linux/bpf.h>

#include <vector>

#include "base/limits.h"
#include "tests/steer/steer_case.h"
#include "tests/steer/steer_fixture.h"

using namespace underpass;
using namespace underpass::test;

namespace {

constexpr const char* kGlobal = "fd00::200:ff:fe00:1";
constexpr const char* kLinkLocal = "fe80::200:ff:fe00:1";  // ends as kGlobal does
constexpr const char* kElsewhere = "fd01::1";
constexpr const char* kHost = "fd00::9";
constexpr uint16_t kOverIpv4 = 7001;  // slot 1 over IPv4, nobody's over IPv6
constexpr uint16_t kAtGlobal = 7002;  // slot 1 on kGlobal
constexpr uint16_t kFlowOnly = 7003;  // one flow of slot 3
constexpr uint16_t kOnSecond = 7004;  // slot 1, but on kLinkLocal slot 2's, which is dead
constexpr uint16_t kFlowPeer = 40000;
constexpr uint8_t kRaw = 253;          // slot 1
constexpr uint8_t kRawOverIpv4 = 252;  // slot 1 over IPv4

FrameSpec v6(FrameSpec spec) {
  spec.ether_type = ETH_P_IPV6;
  if (spec.version == 4) spec.version = 6;
  if (spec.to == kOurs) spec.to = kGlobal;
  if (spec.from == kPeer) spec.from = kHost;
  return spec;
}

const Case kCases[] = {
    {"TCP to a claimed port", v6({}), XDP_REDIRECT, UP_STEER_tcp_frames},
    {"UDP to a claimed port", v6({.protocol = IPPROTO_UDP}), XDP_REDIRECT, UP_STEER_udp_frames},
    {"over IPv4 to that port", {}, XDP_REDIRECT, UP_STEER_tcp_frames},
    {"to the link-local address", v6({.to = kLinkLocal}), XDP_REDIRECT, UP_STEER_tcp_frames},
    {"from a link-local address", v6({.to = kLinkLocal, .from = "fe80::9"}), XDP_REDIRECT,
     UP_STEER_tcp_frames},
    {"to a port that is claimed over IPv4 alone", v6({.to_port = kOverIpv4}), XDP_PASS,
     UP_STEER_pass_port},
    {"as long as a chunk has room", v6({.bytes = kMaxFrameBytes}), XDP_REDIRECT,
     UP_STEER_tcp_frames},
    {"longer than a chunk", v6({.bytes = kMaxFrameBytes + 1}), XDP_PASS, UP_STEER_pass_long},
    {"to another host", v6({.to = "fd00::77"}), XDP_PASS, UP_STEER_pass_address},
    {"to all nodes", v6({.to = "ff02::1", .protocol = IPPROTO_UDP}), XDP_PASS,
     UP_STEER_pass_address},
    {"to an address of another interface", v6({.to = kElsewhere}), XDP_PASS, UP_STEER_pass_address},
    {"to our IPv4 address, mapped", v6({.to = "::ffff:10.0.0.1"}), XDP_PASS, UP_STEER_pass_address},
    {"from our IPv4 address, mapped", v6({.from = "::ffff:10.0.0.1"}), XDP_PASS,
     UP_STEER_pass_martian},
    {"from an IPv4 host, mapped", v6({.from = "::ffff:10.0.0.9"}), XDP_PASS, UP_STEER_pass_martian},
    {"from loopback", v6({.from = "::1"}), XDP_PASS, UP_STEER_pass_martian},
    {"from no address", v6({.from = "::"}), XDP_PASS, UP_STEER_pass_martian},
    {"from behind loopback", v6({.from = "::2"}), XDP_REDIRECT, UP_STEER_tcp_frames},
    {"from a group", v6({.from = "ff02::1"}), XDP_PASS, UP_STEER_pass_martian},
    {"from its own destination", v6({.from = kGlobal}), XDP_PASS, UP_STEER_pass_martian},
    {"from an address of another interface of ours", v6({.from = kElsewhere}), XDP_PASS,
     UP_STEER_pass_martian},
    {"hop-by-hop options, as a jumbogram has", v6({.protocol = 0}), XDP_PASS,
     UP_STEER_pass_options},
    {"a routing header", v6({.protocol = 43}), XDP_PASS, UP_STEER_pass_options},
    {"destination options", v6({.protocol = 60}), XDP_PASS, UP_STEER_pass_options},
    {"a fragment", v6({.protocol = 44}), XDP_PASS, UP_STEER_pass_fragment},
    {"no next header", v6({.protocol = 59}), XDP_PASS, UP_STEER_pass_protocol},
    {"ESP", v6({.protocol = 50}), XDP_PASS, UP_STEER_pass_protocol},
    {"ICMPv6, though somebody has claimed it", v6({.protocol = IPPROTO_ICMPV6}), XDP_PASS,
     UP_STEER_pass_protocol},
    {"a claimed protocol", v6({.protocol = kRaw}), XDP_REDIRECT, UP_STEER_raw_frames},
    {"a protocol that is claimed over IPv4", v6({.protocol = kRawOverIpv4}), XDP_PASS,
     UP_STEER_pass_protocol},
    {"IPv6's type but version 5", v6({.version = 5}), XDP_PASS, UP_STEER_pass_not_ip},
    {"IP header cut", v6({.bytes = 53}), XDP_PASS, UP_STEER_pass_short},
    {"TCP header cut", v6({.bytes = 73}), XDP_PASS, UP_STEER_pass_short},
    {"UDP header alone", v6({.protocol = IPPROTO_UDP, .bytes = 62}), XDP_REDIRECT,
     UP_STEER_udp_frames},
    {"a port claimed on this address", v6({.to_port = kAtGlobal}), XDP_REDIRECT,
     UP_STEER_tcp_frames},
    {"a port claimed on an address that ends alike", v6({.to = kLinkLocal, .to_port = kAtGlobal}),
     XDP_PASS, UP_STEER_pass_port},
    {"the flow of a port of the kernel's", v6({.from_port = kFlowPeer, .to_port = kFlowOnly}),
     XDP_REDIRECT, UP_STEER_tcp_frames},
    {"another flow of that port", v6({.from_port = 40001, .to_port = kFlowOnly}), XDP_PASS,
     UP_STEER_pass_port},
    {"a port of two slots, the second's address", v6({.to = kLinkLocal, .to_port = kOnSecond}),
     XDP_PASS, UP_STEER_pass_no_socket},
};

void fill_tables(SteerFixture& steer) {
  for (const char* ours : {kOurs, kGlobal, kLinkLocal}) steer.add_address(ours);
  steer.add_address(kElsewhere, false);
  for (const uint32_t slot : {1U, 3U}) steer.give_socket(slot);
  steer.claim(IPPROTO_TCP, kClaimed, 1);
  steer.claim(IPPROTO_TCP, kOverIpv4, 1);
  steer.claim(kRawOverIpv4, 0, 1);
  steer.claim(IPPROTO_TCP, kClaimed, 1, AF_INET6);
  steer.claim(IPPROTO_UDP, kClaimed, 1, AF_INET6);
  steer.claim(kRaw, 0, 1, AF_INET6);
  steer.claim(IPPROTO_ICMPV6, 0, 1, AF_INET6);
  const uint64_t at_global =
      uint64_t{up_fold_address(UP_FAMILY_V6, address_of(kGlobal).bytes.data())}
      << UP_PORT_ADDRESS_SHIFT;
  steer.set_entry(IPPROTO_TCP, kAtGlobal, at_global | 2, AF_INET6);
  steer.set_entry(IPPROTO_TCP, kFlowOnly, UP_PORT_FLOWS_ONE, AF_INET6);
  steer.add_flow(flow_key(kGlobal, kFlowOnly, kHost, kFlowPeer), 3);
  steer.set_entry(IPPROTO_TCP, kOnSecond, at_global | UP_PORT_FLOWS_ONE | 2, AF_INET6);
  steer.add_flow(flow_key(kLinkLocal, kOnSecond, nullptr, 0), 2);
}

}  // namespace

ParameterizedTestParameters(steer_ipv6, every_frame_gets_its_verdict_and_its_counter) {
  static size_t indices[std::size(kCases)];
  for (size_t i = 0; i < std::size(kCases); ++i) indices[i] = i;
  return cr_make_param_array(size_t, indices, std::size(kCases));
}

ParameterizedTest(size_t* index, steer_ipv6, every_frame_gets_its_verdict_and_its_counter) {
  skip_without_bpf();
  SteerFixture steer;
  fill_tables(steer);
  expect_case(steer, kCases[*index]);
}
