// icmp_watch.cpp - a raw socket (raw(7)) and what is quoted in a message
#include "xdp/broker/icmp_watch.h"

#include <arpa/inet.h>
#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/checksum.h"
#include "xdp/broker/raw_socket.h"
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

// icmpv6_err_convert() in net/ipv6/icmp.c. 0: no error about a segment.
int error_of_v6(uint8_t type, uint8_t code) {
  constexpr int kUnreachable[] = {ENETUNREACH,  EACCES, EHOSTUNREACH, EHOSTUNREACH,
                                  ECONNREFUSED, EACCES, EACCES};
  switch (type) {
    case ICMP6_DST_UNREACH:
      return code < std::size(kUnreachable) ? kUnreachable[code] : EPROTO;
    case ICMP6_PACKET_TOO_BIG:
      return EMSGSIZE;
    case ICMP6_TIME_EXCEEDED:
      return EHOSTUNREACH;
    case ICMP6_PARAM_PROB:
      return EPROTO;
    default:
      return 0;
  }
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
  if (packet.size() < sizeof icmp || checksum(packet.data(), packet.size()) != 0xffff)
    return std::nullopt;
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
                     error,
                     0};
}

std::optional<Unreachable> parse_icmpv6_error(std::span<const uint8_t> message) {
  icmp6_hdr icmp{};
  ip6_hdr inner{};
  Quoted quoted{};
  if (message.size() < sizeof icmp + sizeof inner + sizeof quoted) return std::nullopt;
  std::memcpy(&icmp, message.data(), sizeof icmp);
  std::memcpy(&inner, message.data() + sizeof icmp, sizeof inner);
  std::memcpy(&quoted, message.data() + sizeof icmp + sizeof inner, sizeof quoted);
  const int error = error_of_v6(icmp.icmp6_type, icmp.icmp6_code);
  // We send no extension headers, so TCP's is the first.
  if (error == 0 || (inner.ip6_vfc >> 4U) != 6 || inner.ip6_nxt != IPPROTO_TCP) return std::nullopt;
  const IpAddress local = IpAddress::from_v6(inner.ip6_src);
  const IpAddress remote = IpAddress::from_v6(inner.ip6_dst);
  if (local.is_v4() || remote.is_v4()) return std::nullopt;
  return Unreachable{{local, ntohs(quoted.source), 0},
                     {remote, ntohs(quoted.destination), 0},
                     ntohl(quoted.sequence),
                     error,
                     error == EMSGSIZE ? ntohl(icmp.icmp6_mtu) : 0};
}

IcmpWatch::IcmpWatch(const Nic& nic)
    : raw_(open_raw_socket(AF_INET, IPPROTO_ICMP, nic)),
      raw_v6_(open_raw_socket(AF_INET6, IPPROTO_ICMPV6, nic)) {
  if (!raw_) throw Refusal("opening a raw socket", EPERM);
  icmp_filter filter{};
  filter.data = ~(1U << ICMP_DEST_UNREACH | 1U << ICMP_TIME_EXCEEDED);
  int done = sys::setsockopt(raw_.get(), SOL_RAW, ICMP_FILTER, &filter, sizeof filter);
  if (done < 0) throw Refusal("filtering a raw socket", -done);
  if (!raw_v6_) return;
  icmp6_filter filter_v6{};
  ICMP6_FILTER_SETBLOCKALL(&filter_v6);
  for (const int type :
       {ICMP6_DST_UNREACH, ICMP6_PACKET_TOO_BIG, ICMP6_TIME_EXCEEDED, ICMP6_PARAM_PROB}) {
    ICMP6_FILTER_SETPASS(type, &filter_v6);
  }
  done = sys::setsockopt(raw_v6_.get(), IPPROTO_ICMPV6, ICMP6_FILTER, &filter_v6, sizeof filter_v6);
  if (done < 0) throw Refusal("filtering a raw socket", -done);
}

bool IcmpWatch::next(std::optional<Unreachable>& out) {
  uint8_t packet[2048];
  const long got = sys::call(SYS_recvfrom, raw_.get(), sys::arg(packet), sizeof packet, 0, 0, 0);
  if (got >= 0) {
    out = parse_icmp_error({packet, static_cast<size_t>(got)});
    return true;
  }
  const long got_v6 =
      sys::call(SYS_recvfrom, raw_v6_.get(), sys::arg(packet), sizeof packet, 0, 0, 0);
  if (got_v6 < 0) return false;
  out = parse_icmpv6_error({packet, static_cast<size_t>(got_v6)});
  return true;
}

}  // namespace underpass
