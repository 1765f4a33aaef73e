// stack_raw.cpp - packets of other protocols than TCP and UDP: raw(7)
#include <netinet/in.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

#include "stack/lwip_port/lwip.h"
#include "stack/stack.h"
#include "stack/udp_endpoint.h"

namespace underpass {

// Each socket of the protocol has its copy; the last one has the frame itself. An IPv6 socket is
// not given the header (rawv6_rcv()).
void Stack::input_raw(const RxFrame& frame, const Packet& packet) {
  const uint16_t number = packet.protocol;
  const std::vector<UdpEndpoint*> wanting =
      raw_.find_all({packet.destination, number, 0}, {packet.source, number, 0});
  const bool is_v4 = packet.source.is_v4();
  uint8_t* const begin = is_v4 ? packet.network : packet.transport;
  const uint32_t bytes = packet.transport_bytes + (is_v4 ? kIpv4HeaderBytes : 0);
  const SocketAddress from{packet.source, 0, 0};
  UdpEndpoint* last = nullptr;
  for (UdpEndpoint* endpoint : wanting) {
    if (!endpoint->has_room()) {
      counters().udp_drops.fetch_add(1, std::memory_order_relaxed);
      continue;
    }
    if (last != nullptr) {
      pbuf* const copy = pbuf_alloc(PBUF_RAW, static_cast<u16_t>(bytes), PBUF_RAM);
      if (copy == nullptr) continue;
      std::memcpy(copy->payload, begin, bytes);
      deliver_datagram(*last, copy, bytes, from, packet);
    }
    last = endpoint;
  }
  if (wanting.empty()) counters().rx_no_socket.fetch_add(1, std::memory_order_relaxed);
  if (last == nullptr) {
    returned_.push_back(frame.id);
    return;
  }
  pbuf* const data = wrap(frame, begin, bytes);
  if (data != nullptr) deliver_datagram(*last, data, bytes, from, packet);
}

namespace {

// What Linux fills in (raw_send_hdrinc() in net/ipv4/raw.c): the length and the checksum always,
// source and identification where they are zero. False: it is no header.
bool complete_header(uint8_t* ip, size_t bytes, const IpAddress& source, uint16_t id) {
  if (bytes < kIpv4HeaderBytes) return false;
  const size_t header_bytes = (ip[0] & 0x0fU) * 4U;
  if (header_bytes < kIpv4HeaderBytes || header_bytes > bytes) return false;
  put_be16(ip + 2, static_cast<uint16_t>(bytes));
  uint16_t given_id = 0;
  std::memcpy(&given_id, ip + 4, sizeof given_id);
  if (given_id == 0) put_be16(ip + 4, id);
  uint32_t given_source = 0;
  std::memcpy(&given_source, ip + 12, sizeof given_source);
  const uint32_t own = source.v4();
  if (given_source == 0) std::memcpy(ip + 12, &own, sizeof own);
  put_be16(ip + 10, 0);
  const auto sum = static_cast<uint16_t>(~checksum(ip, header_bytes));
  std::memcpy(ip + 10, &sum, sizeof sum);
  return true;
}

}  // namespace

Result<void> Stack::send_raw(const RawPacket& packet, std::span<const iovec> data, size_t bytes) {
  const uint32_t header_bytes = packet.has_header ? 0 : ip_header_bytes(packet.remote);
  const size_t ip_bytes = bytes + header_bytes;
  const auto begun = begin_packet(packet.local.ip, packet.remote, ip_bytes);
  if (!begun) return Error{begun.error()};
  uint8_t* const ip = begun->ip;
  copy_in(ip + header_bytes, data);
  if (!packet.has_header) {
    const auto protocol = static_cast<uint8_t>(packet.local.port);
    write_ip_header(ip, {begun->source, packet.remote, static_cast<uint16_t>(ip_bytes), ++ip_id_,
                         protocol, packet.ttl != 0 ? packet.ttl : begun->hop_limit, packet.tos});
  } else if (packet.remote.is_v4() && !complete_header(ip, bytes, begun->source, ++ip_id_)) {
    return Error{EINVAL};  // the chunk stays reserved, for the next
  } else if (!packet.remote.is_v4() && bytes < kIpv6HeaderBytes) {
    return Error{EINVAL};
  }
  port().submit(static_cast<uint32_t>(kEthernetHeaderBytes + ip_bytes));
  return {};
}

}  // namespace underpass
