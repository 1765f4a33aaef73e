// packet.cpp - checks what came from the wire before anything else sees it
#include "stack/packet.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <bit>

namespace underpass {

namespace {

constexpr uint16_t kFragmentBits = 0x3fff;  // offset and "more fragments", not "don't fragment"

template <class T>
T load(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

uint16_t load_be16(const uint8_t* at) { return ntohs(load<uint16_t>(at)); }

// True when the checksum over the whole transport part is right, or is the pseudo-header's sum
// only.
bool transport_checksum_good(const Packet& packet, size_t field, bool partial_allowed) {
  const uint32_t pseudo =
      pseudo_header_sum(packet.source, packet.destination, packet.protocol, packet.transport_bytes);
  if (partial_allowed && load<uint16_t>(packet.transport + field) == pseudo) return true;
  return checksum(packet.transport, packet.transport_bytes, pseudo) == 0xffff;
}

PacketError parse_transport(Packet& out, bool partial_allowed) {
  constexpr size_t kTcpChecksumAt = 16;
  constexpr size_t kUdpChecksumAt = 6;
  if (out.protocol == IPPROTO_TCP) {
    if (out.transport_bytes < kTcpHeaderBytes) return PacketError::kMalformed;
    const uint32_t header = (out.transport[12] >> 4U) * 4U;
    if (header < kTcpHeaderBytes || header > out.transport_bytes) return PacketError::kMalformed;
    if (!transport_checksum_good(out, kTcpChecksumAt, partial_allowed)) {
      return PacketError::kBadChecksum;
    }
  } else if (out.protocol == IPPROTO_UDP) {
    if (out.transport_bytes < kUdpHeaderBytes) return PacketError::kMalformed;
    const uint32_t length = load_be16(out.transport + 4);
    if (length < kUdpHeaderBytes || length > out.transport_bytes) return PacketError::kMalformed;
    out.transport_bytes = length;
    // A checksum of zero says that the sender made none (RFC 768).
    const bool has_sum = load<uint16_t>(out.transport + kUdpChecksumAt) != 0;
    if (!has_sum && !out.source.is_v4()) return PacketError::kMalformed;
    if (has_sum && !transport_checksum_good(out, kUdpChecksumAt, partial_allowed)) {
      return PacketError::kBadChecksum;
    }
  } else {
    out.source_port = out.destination_port = 0;
    const bool icmp = out.protocol == IPPROTO_ICMP || out.protocol == IPPROTO_ICMPV6;
    return icmp ? PacketError::kMalformed : PacketError::kNone;
  }
  out.source_port = load_be16(out.transport);
  out.destination_port = load_be16(out.transport + 2);
  return PacketError::kNone;
}

bool has_extension(uint8_t next) {
  return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_FRAGMENT ||
         next == IPPROTO_DSTOPTS || next == IPPROTO_NONE;
}

PacketError parse_ipv4(uint8_t* ip, uint32_t available, Packet& out) {
  if (available < kIpv4HeaderBytes) return PacketError::kMalformed;
  if (ip[0] != 0x45) return PacketError::kMalformed;
  const uint32_t total = load_be16(ip + 2);
  if (total < kIpv4HeaderBytes || total > available) return PacketError::kMalformed;
  if ((load_be16(ip + 6) & kFragmentBits) != 0) return PacketError::kMalformed;
  if (checksum(ip, kIpv4HeaderBytes) != 0xffff) return PacketError::kBadChecksum;
  out.network = ip;
  out.transport = ip + kIpv4HeaderBytes;
  out.transport_bytes = total - kIpv4HeaderBytes;
  out.protocol = ip[9];
  out.ttl = ip[8];
  out.tos = ip[1];
  out.source = IpAddress::from_v4(load<uint32_t>(ip + 12));
  out.destination = IpAddress::from_v4(load<uint32_t>(ip + 16));
  return PacketError::kNone;
}

PacketError parse_ipv6(uint8_t* ip, uint32_t available, Packet& out) {
  if (available < kIpv6HeaderBytes) return PacketError::kMalformed;
  if ((ip[0] >> 4U) != 6 || has_extension(ip[6])) return PacketError::kMalformed;
  const uint32_t payload = load_be16(ip + 4);
  if (payload > available - kIpv6HeaderBytes) return PacketError::kMalformed;
  out.network = ip;
  out.transport = ip + kIpv6HeaderBytes;
  out.transport_bytes = payload;
  out.protocol = ip[6];
  out.ttl = ip[7];
  out.tos = static_cast<uint8_t>(load_be16(ip) >> 4U);
  std::memcpy(out.source.bytes.data(), ip + 8, out.source.bytes.size());
  std::memcpy(out.destination.bytes.data(), ip + 24, out.destination.bytes.size());
  // An IPv4 host is none over IPv6 (ip6_rcv_core() drops it too).
  const bool mapped = out.source.is_v4() || out.destination.is_v4();
  return mapped ? PacketError::kMalformed : PacketError::kNone;
}

void write_ipv4_header(uint8_t* at, const IpHeader& header) {
  constexpr uint16_t kDontFragment = 0x4000;
  at[0] = 0x45;
  at[1] = header.tos;
  put_be16(at + 2, header.bytes);
  put_be16(at + 4, header.id);
  put_be16(at + 6, kDontFragment);
  at[8] = header.ttl;
  at[9] = header.protocol;
  put_be16(at + 10, 0);
  const uint32_t from = header.source.v4();
  const uint32_t to = header.destination.v4();
  std::memcpy(at + 12, &from, 4);
  std::memcpy(at + 16, &to, 4);
  const auto sum = static_cast<uint16_t>(~checksum(at, kIpv4HeaderBytes));
  std::memcpy(at + 10, &sum, 2);
}

void write_ipv6_header(uint8_t* at, const IpHeader& header) {
  at[0] = static_cast<uint8_t>(0x60U | header.tos >> 4U);
  at[1] = static_cast<uint8_t>(header.tos << 4U);
  put_be16(at + 2, 0);
  put_be16(at + 4, static_cast<uint16_t>(header.bytes - kIpv6HeaderBytes));
  at[6] = header.protocol;
  at[7] = header.ttl;
  std::memcpy(at + 8, header.source.bytes.data(), header.source.bytes.size());
  std::memcpy(at + 24, header.destination.bytes.data(), header.destination.bytes.size());
}

}  // namespace

void put_be16(uint8_t* at, uint16_t value) {
  const uint16_t big = htons(value);
  std::memcpy(at, &big, sizeof big);
}

// ---- out

void write_ip_header(uint8_t* at, const IpHeader& header) {
  if (header.source.is_v4()) return write_ipv4_header(at, header);
  write_ipv6_header(at, header);
}

PacketError parse_packet(const RxFrame& frame, bool rx_partial_checksum, Packet& out) {
  if (frame.length_bytes < kEthernetHeaderBytes) return PacketError::kMalformed;
  const uint16_t type = load_be16(frame.data + 12);
  uint8_t* const ip = frame.data + kEthernetHeaderBytes;
  const uint32_t available = frame.length_bytes - kEthernetHeaderBytes;
  PacketError error = PacketError::kMalformed;
  if (type == kEtherTypeIpv4) error = parse_ipv4(ip, available, out);
  if (type == kEtherTypeIpv6) error = parse_ipv6(ip, available, out);
  return error == PacketError::kNone ? parse_transport(out, rx_partial_checksum) : error;
}

}  // namespace underpass
