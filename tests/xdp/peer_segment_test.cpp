// peer_segment_test.cpp - the segment that a peer would have sent, byte for byte
#include "xdp/broker/peer_segment.h"

#include <criterion/criterion.h>

#include <cstring>

using namespace underpass;

namespace {

constexpr MacAddress kMac = {2, 0, 0, 0, 0, 1};

IpAddress v6(uint8_t last) {
  in6_addr address{};
  address.s6_addr[0] = 0xfd;
  address.s6_addr[15] = last;
  return IpAddress::from_v6(address);
}

ConnectionState connection_of(const IpAddress& local, const IpAddress& remote) {
  ConnectionState connection{};
  connection.local = {local, 80, 0};
  connection.remote = {remote, 40000, 0};
  connection.send_window = 65536;
  connection.window_scaling = 1;
  connection.send_scale = 7;
  return connection;
}

uint32_t word(const uint8_t* at) {
  return uint32_t{at[0]} << 24U | uint32_t{at[1]} << 16U | uint32_t{at[2]} << 8U | at[3];
}

// Zero where the checksum in it is right (RFC 1071).
uint16_t sum(uint32_t start, const uint8_t* data, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) start += uint32_t{data[i]} << (i % 2 == 0 ? 8U : 0U);
  while ((start >> 16U) != 0) start = (start & 0xffffU) + (start >> 16U);
  return static_cast<uint16_t>(~start);
}

uint32_t word_sum(const uint8_t* data, size_t bytes) {
  return static_cast<uint16_t>(~sum(0, data, bytes));
}

}  // namespace

TestSuite(peer_segment);

Test(peer_segment, of_ipv4_with_a_timestamp) {
  ConnectionState connection =
      connection_of(IpAddress::from_v4(0x0100000a), IpAddress::from_v4(0x0200000a));
  connection.timestamps = 1;
  connection.timestamp = 77;
  connection.peer_timestamp = 99;
  uint8_t frame[kMaxPeerSegmentBytes];
  const size_t bytes = write_peer_segment(connection, {1000, 2000, true}, kMac, frame);
  cr_assert_eq(bytes, 14 + 20 + 32);
  cr_expect_eq(std::memcmp(frame, kMac.data(), 6), 0);
  cr_expect_eq(frame[12] << 8 | frame[13], 0x0800);
  const uint8_t* const ip = frame + 14;
  cr_expect_eq(sum(0, ip, 20), 0);
  cr_expect_eq(word(ip + 12), 0x0a000002, "from the peer");
  cr_expect_eq(word(ip + 16), 0x0a000001);
  const uint8_t* const tcp = ip + 20;
  cr_expect_eq(tcp[0] << 8 | tcp[1], 40000);
  cr_expect_eq(tcp[2] << 8 | tcp[3], 80);
  cr_expect_eq(word(tcp + 4), 1000);
  cr_expect_eq(word(tcp + 8), 2000);
  cr_expect_eq(tcp[13], 0x11, "FIN, ACK");
  cr_expect_eq(tcp[14] << 8 | tcp[15], 512, "the window, scaled");
  cr_expect_eq(word(tcp + 24), 99);
  cr_expect_eq(word(tcp + 28), 77);
  cr_expect_eq(sum(word_sum(ip + 12, 8) + 6 + 32, tcp, 32), 0);
}

Test(peer_segment, of_ipv6_without_options) {
  const ConnectionState connection = connection_of(v6(1), v6(2));
  uint8_t frame[kMaxPeerSegmentBytes];
  const size_t bytes = write_peer_segment(connection, {1, 2, false}, kMac, frame);
  cr_assert_eq(bytes, 14 + 40 + 20);
  cr_expect_eq(frame[12] << 8 | frame[13], 0x86dd);
  const uint8_t* const ip = frame + 14;
  cr_expect_eq(ip[0] >> 4, 6);
  cr_expect_eq(ip[4] << 8 | ip[5], 20);
  cr_expect_eq(ip[6], 6);
  cr_expect_eq(ip[23], 2, "from the peer");
  cr_expect_eq(ip[39], 1);
  const uint8_t* const tcp = ip + 40;
  cr_expect_eq(tcp[13], 0x10, "ACK");
  cr_expect_eq(sum(word_sum(ip + 8, 32) + 6 + 20, tcp, 20), 0);
}
