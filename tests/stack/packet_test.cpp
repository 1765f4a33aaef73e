// packet_test.cpp - what is taken for a packet, and what is not
#include "stack/packet.h"

#include <criterion/criterion.h>

#include <cstring>

#include "stack/tcp_options.h"
#include "tests/support/raw_peer.h"

using namespace underpass;
using namespace underpass::test;

namespace {

PacketError parse(Bytes frame, bool partial = false, Packet* out = nullptr) {
  Packet packet;
  const RxFrame lent{frame.data(), static_cast<uint32_t>(frame.size()), 1};
  return parse_packet(lent, partial, out != nullptr ? *out : packet);
}

Bytes tcp() {
  Segment segment;
  segment.source_port = 1;
  segment.destination_port = 2;
  segment.payload = "payload";
  return tcp_frame(ip("10.0.0.2"), ip("10.0.0.1"), segment);
}

Bytes udp(const std::string& payload = "datagram") {
  return udp_frame({ip("10.0.0.2"), 1000, 0}, {ip("10.0.0.1"), 53, 0}, payload);
}

void fix_ip_checksum(Bytes& frame) {
  frame[24] = frame[25] = 0;
  const auto sum = static_cast<uint16_t>(~checksum(&frame[14], 20));
  std::memcpy(&frame[24], &sum, 2);
}

void set_partial_checksum(Bytes& frame, uint8_t protocol, size_t at) {
  const auto bytes = static_cast<uint32_t>(frame.size() - 34);
  const uint32_t sum = pseudo_header_sum(ip("10.0.0.2"), ip("10.0.0.1"), protocol, bytes);
  const auto folded = static_cast<uint16_t>(sum);
  std::memcpy(&frame[34 + at], &folded, 2);
}

}  // namespace

TestSuite(packet);

Test(packet, a_tcp_segment_is_read) {
  Bytes frame = tcp();
  Packet packet;
  const RxFrame lent{frame.data(), static_cast<uint32_t>(frame.size()), 1};
  cr_assert(parse_packet(lent, false, packet) == PacketError::kNone);
  cr_expect(packet.source == ip("10.0.0.2"));
  cr_expect(packet.destination == ip("10.0.0.1"));
  cr_expect_eq(packet.source_port, 1);
  cr_expect_eq(packet.destination_port, 2);
  cr_expect_eq(packet.protocol, IPPROTO_TCP);
  cr_expect_eq(packet.transport_bytes, 27);
  cr_expect_eq(packet.ttl, 64);
}

Test(packet, padding_is_outside) {
  Bytes frame = udp("ab");
  frame.resize(60, 0x55);
  Packet packet;
  cr_assert(parse(frame, false, &packet) == PacketError::kNone);
  cr_expect_eq(packet.transport_bytes, 10);
}

Test(packet, a_udp_checksum_of_zero_means_none) {
  Bytes frame = udp();
  frame[40] = frame[41] = 0;
  frame.back() = 'X';
  cr_expect(parse(frame) == PacketError::kNone);
}

// RFC 1071, word by word.
Test(packet, the_checksum_is_right_for_every_length_and_place) {
  std::vector<uint8_t> bytes(400);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(255 - i * i * 7 % 251);
  for (size_t from = 0; from < 3; ++from) {
    for (size_t count = 0; from + count <= bytes.size(); ++count) {
      uint32_t sum = 0x12345;
      for (size_t i = 0; i < count; ++i) {
        sum += static_cast<uint32_t>(bytes[from + i]) << (i % 2 == 0 ? 0 : 8);
      }
      while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
      cr_assert_eq(checksum(&bytes[from], count, 0x12345), sum, "%zu bytes from %zu", count, from);
    }
  }
}

Test(packet, a_wrong_checksum_is_seen) {
  for (Bytes frame : {tcp(), udp()}) {
    for (size_t at : {size_t{14 + 12}, size_t{34}, frame.size() - 1}) {
      Bytes broken = frame;
      broken[at] = static_cast<uint8_t>(broken[at] ^ 0x10U);
      cr_expect(parse(broken) == PacketError::kBadChecksum, "byte %zu", at);
    }
  }
}

Test(packet, a_partial_checksum_is_right_only_where_it_is_allowed) {
  Bytes segment = tcp();
  set_partial_checksum(segment, IPPROTO_TCP, 16);
  cr_expect(parse(segment, true) == PacketError::kNone);
  cr_expect(parse(segment, false) == PacketError::kBadChecksum);
  Bytes datagram = udp();
  set_partial_checksum(datagram, IPPROTO_UDP, 6);
  cr_expect(parse(datagram, true) == PacketError::kNone);
  cr_expect(parse(datagram, false) == PacketError::kBadChecksum);
  // Exactly that value, nothing near it.
  datagram[41] = static_cast<uint8_t>(datagram[41] + 1);
  cr_expect(parse(datagram, true) == PacketError::kBadChecksum);
}

Test(packet, fragments_and_options_are_the_kernels) {
  Bytes more = udp();
  more[20] = 0x20;
  fix_ip_checksum(more);
  cr_expect(parse(more) == PacketError::kMalformed);
  Bytes later = udp();
  later[20] = 0;
  later[21] = 1;
  fix_ip_checksum(later);
  cr_expect(parse(later) == PacketError::kMalformed);
  Bytes dont = udp();
  dont[20] = 0x40;
  fix_ip_checksum(dont);
  cr_expect(parse(dont) == PacketError::kNone);
  Bytes options = udp();
  options[14] = 0x46;
  fix_ip_checksum(options);
  cr_expect(parse(options) == PacketError::kMalformed);
}

Test(packet, lengths_must_agree) {
  Bytes long_ip = udp();
  long_ip[17] = static_cast<uint8_t>(long_ip[17] + 1);
  fix_ip_checksum(long_ip);
  cr_expect(parse(long_ip) == PacketError::kMalformed);
  Bytes short_ip = udp();
  short_ip[17] = 19;
  fix_ip_checksum(short_ip);
  cr_expect(parse(short_ip) == PacketError::kMalformed);
  Bytes long_udp = udp();
  long_udp[39] = static_cast<uint8_t>(long_udp[39] + 1);
  cr_expect(parse(long_udp) == PacketError::kMalformed);
  Bytes short_udp = udp();
  short_udp[39] = 7;
  cr_expect(parse(short_udp) == PacketError::kMalformed);
  Bytes header = tcp();
  header[46] = 0xf0;
  cr_expect(parse(header) == PacketError::kMalformed);
  header[46] = 0x40;
  cr_expect(parse(header) == PacketError::kMalformed);
}

Test(packet, other_protocols_are_not_taken) {
  Bytes icmp = udp();
  icmp[23] = IPPROTO_ICMP;
  fix_ip_checksum(icmp);
  cr_expect(parse(icmp) == PacketError::kMalformed);
  Bytes arp = udp();
  arp[13] = 6;
  cr_expect(parse(arp) == PacketError::kMalformed);
}

Test(packet, checksums_agree_with_the_definition_at_every_length_and_alignment) {
  uint8_t data[200];
  for (size_t i = 0; i < sizeof data; ++i) data[i] = static_cast<uint8_t>(i * 37 + 11);
  for (size_t start = 0; start < 8; ++start) {
    for (size_t bytes = 0; bytes < 180; ++bytes) {
      uint32_t sum = 0;
      for (size_t i = 0; i < bytes; ++i) {
        const uint32_t byte = data[start + i];
        sum += i % 2 == 0 ? byte : byte << 8U;
      }
      while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
      cr_expect_eq(checksum(data + start, bytes), sum, "%zu bytes at %zu", bytes, start);
    }
  }
}

Test(packet, options_are_read_until_the_first_malformed_one) {
  auto options_of = [](const Bytes& raw) {
    Segment segment;
    segment.options = raw;
    Bytes frame = tcp_frame(ip("10.0.0.2"), ip("10.0.0.1"), segment);
    Packet packet;
    const RxFrame lent{frame.data(), static_cast<uint32_t>(frame.size()), 1};
    cr_assert(parse_packet(lent, false, packet) == PacketError::kNone);
    return parse_tcp_options(packet);
  };
  const SegmentOptions stamped = options_of(Bytes{1, 1} + option_timestamp(77, 5));
  cr_expect(stamped.has_timestamp);
  cr_expect_eq(stamped.echo, 5);
  cr_expect_eq(stamped.timestamp, 77);
  const SegmentOptions sacked = options_of({5, 18, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4});
  cr_expect_eq(sacked.sack_count, 2);
  cr_expect_eq(sacked.sacks[1].left, 3);
  cr_expect_eq(options_of({5, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0}).sack_count, 0);
  cr_expect_eq(options_of({8, 0, 1, 1}).has_timestamp, false);
  cr_expect_eq(options_of({8, 10, 1, 1}).has_timestamp, false);
  cr_expect_eq(options_of(Bytes{0, 1} + option_timestamp(77, 5)).has_timestamp, false);
  cr_expect_eq(options_of({254, 1, 1, 1}).has_timestamp, false);
}
