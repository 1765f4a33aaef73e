// stack_output.cpp - frames out
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "stack/lwip_port/lwip.h"
#include "stack/stack.h"

namespace underpass {

namespace {

// Frames handed to the kernel at a time during a long output: the peer starts while we go on. As
// many as one AF_XDP system call takes in copy mode.
constexpr size_t kFlushFrames = 32;

}  // namespace

uint8_t* Stack::write_ethernet(const MacAddress& destination, const IpAddress& to) {
  if (++unflushed_frames_ > kFlushFrames) {
    unflushed_frames_ = 1;
    port().flush();
  }
  uint8_t* frame = port().reserve();
  if (frame == nullptr) {
    // The completion ring is looked at again after a flush.
    port().flush();
    frame = port().reserve();
  }
  if (frame == nullptr) {
    counters().tx_no_frame.fetch_add(1, std::memory_order_relaxed);
    return nullptr;
  }
  std::memcpy(frame, destination.data(), destination.size());
  std::memcpy(frame + 6, port().capabilities().mac.data(), 6);
  put_be16(frame + 12, to.is_v4() ? kEtherTypeIpv4 : kEtherTypeIpv6);
  return frame;
}

int Stack::output_ip(pbuf* packet, const IpAddress& to) {
  Destination& destination = destinations_.look_up(to, now_ns_);
  if (destination.error != 0) return destination.error;
  if (!destination.route.through_interface) return EHOSTUNREACH;
  if (packet->tot_len > port().capabilities().mtu_bytes) return EMSGSIZE;
  if (destination.state != NeighbourState::kReachable) {
    std::vector<uint8_t> copy(packet->tot_len);
    pbuf_copy_partial(packet, copy.data(), packet->tot_len, 0);
    destinations_.enqueue(destination, std::move(copy));
    counters().tx_no_neighbour.fetch_add(1, std::memory_order_relaxed);
    return 0;
  }
  uint8_t* frame = write_ethernet(destination.mac, to);
  if (frame == nullptr) return ENOBUFS;
  uint8_t* at = frame + kEthernetHeaderBytes;
  for (const pbuf* part = packet; part != nullptr; part = part->next) {
    std::memcpy(at, part->payload, part->len);
    at += part->len;
    if (part->tot_len == part->len) break;
  }
  port().submit(kEthernetHeaderBytes + packet->tot_len);
  return 0;
}

Result<Stack::Outgoing> Stack::begin_packet(const IpAddress& local, const IpAddress& remote,
                                            size_t ip_bytes) {
  if (ip_bytes > port().capabilities().mtu_bytes) return Error{EMSGSIZE};
  const Destination& destination = destinations_.look_up(remote, now_ns_);
  if (destination.error != 0 || !destination.route.through_interface ||
      destination.state != NeighbourState::kReachable) {
    return Error{EHOSTUNREACH};
  }
  uint8_t* const frame = write_ethernet(destination.mac, remote);
  if (frame == nullptr) return Error{EAGAIN};
  return Outgoing{frame + kEthernetHeaderBytes, local.is_any() ? destination.route.source : local,
                  destination.route.hop_limit};
}

void Stack::copy_in(uint8_t* at, std::span<const iovec> data) {
  for (const iovec& piece : data) {
    if (piece.iov_len != 0) std::memcpy(at, piece.iov_base, piece.iov_len);
    at += piece.iov_len;
  }
}

Result<void> Stack::send_udp(const SocketAddress& local, const SocketAddress& remote, uint8_t ttl,
                             uint8_t tos, std::span<const iovec> data, size_t bytes) {
  const size_t udp_bytes = bytes + kUdpHeaderBytes;
  const size_t ip_bytes = udp_bytes + ip_header_bytes(remote.ip);
  const auto begun = begin_packet(local.ip, remote.ip, ip_bytes);
  if (!begun) return Error{begun.error()};
  write_ip_header(begun->ip, {begun->source, remote.ip, static_cast<uint16_t>(ip_bytes), ++ip_id_,
                              IPPROTO_UDP, ttl != 0 ? ttl : begun->hop_limit, tos});
  uint8_t* const udp = begun->ip + ip_header_bytes(remote.ip);
  put_be16(udp, local.port);
  put_be16(udp + 2, remote.port);
  put_be16(udp + 4, static_cast<uint16_t>(udp_bytes));
  put_be16(udp + 6, 0);
  copy_in(udp + kUdpHeaderBytes, data);
  const uint32_t pseudo =
      pseudo_header_sum(begun->source, remote.ip, IPPROTO_UDP, static_cast<uint32_t>(udp_bytes));
  auto sum = static_cast<uint16_t>(~checksum(udp, udp_bytes, pseudo));
  if (sum == 0) sum = 0xffff;  // RFC 768: zero says "none"
  std::memcpy(udp + 6, &sum, 2);
  port().submit(static_cast<uint32_t>(kEthernetHeaderBytes + ip_bytes));
  return {};
}

// icmp_send() in net/ipv4/icmp.c and icmp6_send(): the error quotes the packet, as much as may be
// in any network without fragments.
void Stack::send_port_unreachable(const Packet& packet) {
  constexpr uint32_t kErrorHeaderBytes = 8;
  constexpr uint8_t kInternetControl = 0xc0;  // the precedence of errors (RFC 1812, 4.3.2.5)
  const bool is_v4 = packet.source.is_v4();
  const uint32_t header_bytes = ip_header_bytes(packet.source) + kErrorHeaderBytes;
  const uint32_t most_bytes = is_v4 ? 576 : 1280;  // RFC 1812, 4.3.2.3; RFC 4443, 2.4 (c)
  const uint32_t quoted_bytes =
      std::min(ip_header_bytes(packet.source) + packet.transport_bytes, most_bytes - header_bytes);
  const auto ip_bytes = static_cast<uint16_t>(header_bytes + quoted_bytes);
  if (!icmp_limit_.allows(packet.source, now_ns_)) return;
  const auto begun = begin_packet(packet.destination, packet.source, ip_bytes);
  if (!begun) return;  // the neighbour is not known any more, say
  const auto protocol = static_cast<uint8_t>(is_v4 ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6});
  const auto tos = static_cast<uint8_t>(is_v4 ? (packet.tos & 0x1eU) | kInternetControl : 0U);
  write_ip_header(begun->ip, {packet.destination, packet.source, ip_bytes, ++ip_id_, protocol,
                              begun->hop_limit, tos});
  uint8_t* const error = begun->ip + ip_header_bytes(packet.source);
  std::memset(error, 0, kErrorHeaderBytes);
  error[0] = is_v4 ? 3 : 1;  // destination unreachable: the port (RFC 792; RFC 4443, 3.1)
  error[1] = is_v4 ? 3 : 4;
  std::memcpy(error + kErrorHeaderBytes, packet.network, quoted_bytes);
  const uint32_t message_bytes = kErrorHeaderBytes + quoted_bytes;
  const uint32_t pseudo =
      is_v4 ? 0
            : pseudo_header_sum(packet.destination, packet.source, IPPROTO_ICMPV6, message_bytes);
  const auto sum = static_cast<uint16_t>(~checksum(error, message_bytes, pseudo));
  std::memcpy(error + 2, &sum, sizeof sum);
  port().submit(static_cast<uint32_t>(kEthernetHeaderBytes + ip_bytes));
}

}  // namespace underpass
