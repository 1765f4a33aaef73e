// packet.h - the headers of a received frame, checked
#pragma once

#include <cstdint>
#include <optional>

#include "base/address.h"
#include "base/checksum.h"
#include "xdp/frame_port.h"

namespace underpass {

constexpr uint32_t kEthernetHeaderBytes = 14;
constexpr uint16_t kEtherTypeIpv4 = 0x0800;
constexpr uint16_t kEtherTypeIpv6 = 0x86dd;
constexpr uint32_t kIpv4HeaderBytes = 20;
constexpr uint32_t kIpv6HeaderBytes = 40;
constexpr uint32_t kTcpHeaderBytes = 20;
constexpr uint32_t kUdpHeaderBytes = 8;

// A TCP segment, a UDP datagram or a packet of another protocol inside a frame. Ports are in host
// byte order; other protocols have none. `ttl` and `tos` are IPv6's hop limit and traffic class.
// All lengths lie within the frame; Ethernet padding is outside `transport_bytes`.
struct Packet {
  IpAddress source;
  IpAddress destination;
  uint8_t* network;    // the IP header
  uint8_t* transport;  // what stands behind it
  uint32_t transport_bytes;
  uint16_t source_port;
  uint16_t destination_port;
  uint8_t protocol;
  uint8_t ttl;
  uint8_t tos;
};

// Of a packet to or from that address, without options or extension headers.
inline uint32_t ip_header_bytes(const IpAddress& ip) {
  return ip.is_v4() ? kIpv4HeaderBytes : kIpv6HeaderBytes;
}

enum class PacketError { kNone, kMalformed, kBadChecksum };

// ICMP is malformed: the kernel has it, as it has all with options or extension headers. Checks
// lengths (RFC 791, 8200, 768, 9293) and checksums; IPv6 allows no datagram without (8200, 8.1).
// Where
// `rx_partial_checksum` is set, a checksum that is just the pseudo-header's sum is right too: the
// sender's kernel left the rest to hardware that a veth does not have.
PacketError parse_packet(const RxFrame& frame, bool rx_partial_checksum, Packet& out);

// A header without options; IPv4's with its checksum (RFC 791), and it must not be fragmented, as
// Linux sends with IP_PMTUDISC_WANT. `bytes` is the length of the packet. IPv6's has no flow label
// and no `id`.
struct IpHeader {
  IpAddress source;
  IpAddress destination;
  uint16_t bytes;
  uint16_t id;
  uint8_t protocol;
  uint8_t ttl;
  uint8_t tos;
};
void write_ip_header(uint8_t* at, const IpHeader& header);
// In network byte order.
void put_be16(uint8_t* at, uint16_t value);

}  // namespace underpass
