// icmp_watch.cpp - a raw socket (raw(7)) and what is quoted in a message
#include "xdp/broker/icmp_watch.h"

#include <arpa/inet.h>
#include <linux/icmp.h>
#include <netinet/ip.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "xdp/broker/refusal.h"

namespace underpass {

namespace {

// At least so much of the segment is quoted (RFC 792): both ports and the sequence number.
struct Quoted {
  uint16_t source;
  uint16_t destination;
  uint32_t sequence;
};

// icmp_err_convert[] in net/ipv4/icmp.c, by code; tcp_v4_err() for the other type. 0: not for a
// connect.
int error_of(uint8_t type, uint8_t code) {
  constexpr int kUnreachable[] = {
      ENETUNREACH,  EHOSTUNREACH, ENOPROTOOPT,  ECONNREFUSED, 0,
      EOPNOTSUPP,   ENETUNREACH,  EHOSTDOWN,    ENONET,       ENETUNREACH,
      EHOSTUNREACH, ENETUNREACH,  EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH,
      EHOSTUNREACH};
  if (type == ICMP_TIME_EXCEEDED) return EHOSTUNREACH;
  if (type != ICMP_DEST_UNREACH || code >= std::size(kUnreachable)) return 0;
  return kUnreachable[code];
}

uint16_t sum_of(std::span<const uint8_t> data) {
  uint32_t sum = 0;
  for (size_t i = 0; i < data.size(); ++i) sum += uint32_t{data[i]} << (i % 2 == 0 ? 8 : 0);
  while ((sum >> 16) != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

// The header at the beginning of `packet`, which goes on behind it. False: there is none.
bool take_ip_header(std::span<const uint8_t>& packet, iphdr& header) {
  if (packet.size() < sizeof header) return false;
  std::memcpy(&header, packet.data(), sizeof header);
  const size_t bytes = header.ihl * size_t{4};
  if (header.version != 4 || bytes < sizeof header || packet.size() < bytes) return false;
  packet = packet.subspan(bytes);
  return true;
}

}  // namespace

std::optional<Unreachable> parse_icmp_error(std::span<const uint8_t> packet) {
  iphdr outer{}, inner{};
  icmphdr icmp{};
  Quoted quoted{};
  if (!take_ip_header(packet, outer) || outer.protocol != IPPROTO_ICMP) return std::nullopt;
  if (packet.size() < sizeof icmp || sum_of(packet) != 0xffff) return std::nullopt;
  std::memcpy(&icmp, packet.data(), sizeof icmp);
  packet = packet.subspan(sizeof icmp);
  const int error = error_of(icmp.type, icmp.code);
  if (error == 0 || !take_ip_header(packet, inner) || inner.protocol != IPPROTO_TCP ||
      packet.size() < sizeof quoted) {
    return std::nullopt;
  }
  std::memcpy(&quoted, packet.data(), sizeof quoted);
  return Unreachable{{IpAddress::from_v4(inner.saddr), ntohs(quoted.source), 0},
                     {IpAddress::from_v4(inner.daddr), ntohs(quoted.destination), 0},
                     ntohl(quoted.sequence),
                     error};
}

IcmpWatch::IcmpWatch(const Nic& nic)
    : raw_(sys::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP)) {
  if (!raw_) throw Refusal("opening a raw socket", EPERM);
  icmp_filter filter{};
  filter.data = ~(1U << ICMP_DEST_UNREACH | 1U << ICMP_TIME_EXCEEDED);
  int done = sys::setsockopt(raw_.get(), SOL_RAW, ICMP_FILTER, &filter, sizeof filter);
  if (done < 0) throw Refusal("filtering a raw socket", -done);
  done = sys::setsockopt(raw_.get(), SOL_SOCKET, SO_BINDTODEVICE, nic.name.data(),
                         static_cast<socklen_t>(nic.name.size()));
  if (done < 0) throw Refusal("binding a raw socket to the interface", -done);
}

bool IcmpWatch::next(std::optional<Unreachable>& out) {
  uint8_t packet[2048];
  const long got = sys::call(SYS_recvfrom, raw_.get(), sys::arg(packet), sizeof packet, 0, 0, 0);
  if (got < 0) return false;
  out = parse_icmp_error({packet, static_cast<size_t>(got)});
  return true;
}

}  // namespace underpass
