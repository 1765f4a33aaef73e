// send_control.cpp - reads control data that the program has written
#include "stack/send_control.h"

#include <netinet/in.h>

#include <cstring>

#include "base/user_pointer.h"

namespace underpass {

namespace {

// Exactly a T, as the kernel wants most of them.
template <class T>
std::optional<T> payload(const cmsghdr& header, const void* data) {
  if (header.cmsg_len != CMSG_LEN(sizeof(T))) return std::nullopt;
  T value;
  std::memcpy(&value, data, sizeof value);
  return value;
}

bool apply_packet_info(const in_pktinfo& info, uint32_t ifindex, SendControl& control) {
  if (info.ipi_ifindex != 0 && static_cast<uint32_t>(info.ipi_ifindex) != ifindex) return false;
  control.source = IpAddress::from_v4(info.ipi_spec_dst.s_addr);
  return true;
}

bool apply_packet_info(const in6_pktinfo& info, uint32_t ifindex, SendControl& control) {
  const IpAddress source = IpAddress::from_v6(info.ipi6_addr);
  if (info.ipi6_ifindex != 0 && info.ipi6_ifindex != ifindex) return false;
  // "::" says nothing of an IPv6 packet, and is refused of an IPv4 one.
  if (source == IpAddress::any(AF_INET6)) return !control.source.is_v4();
  if (source.is_v4() != control.source.is_v4()) return false;
  control.source = source;
  return true;
}

// -1 stands for what the socket says (RFC 3542 6.3, 6.5).
bool apply_number(std::optional<int> number, int least, uint8_t& out) {
  if (!number || *number > UINT8_MAX || (*number < least && *number != -1)) return false;
  if (*number != -1) out = static_cast<uint8_t>(*number);
  return true;
}

bool apply_v6(const cmsghdr& header, const void* data, uint32_t ifindex, SendControl& control) {
  const bool over_v4 = control.source.is_v4();
  switch (header.cmsg_type) {
    case IPV6_PKTINFO: {
      const auto info = payload<in6_pktinfo>(header, data);
      return info && apply_packet_info(*info, ifindex, control);
    }
    // Over IPv4 it would have to be IPv4's. A hop limit of 0 is the kernel's to send.
    case IPV6_HOPLIMIT:
      return !over_v4 && apply_number(payload<int>(header, data), 1, control.ttl);
    case IPV6_TCLASS:
      return !over_v4 && apply_number(payload<int>(header, data), 0, control.tos);
    default:
      return false;
  }
}

bool apply(const cmsghdr& header, const void* data, uint32_t ifindex, SendControl& control) {
  if (header.cmsg_level == IPPROTO_IPV6) return apply_v6(header, data, ifindex, control);
  if (header.cmsg_level != IPPROTO_IP || !control.source.is_v4()) return false;
  const auto number = payload<int>(header, data);
  const auto byte = payload<uint8_t>(header, data);
  switch (header.cmsg_type) {
    case IP_PKTINFO: {
      const auto info = payload<in_pktinfo>(header, data);
      return info && apply_packet_info(*info, ifindex, control);
    }
    case IP_TTL:
      if (!number || *number < 1 || *number > 255) return false;
      control.ttl = static_cast<uint8_t>(*number);
      return true;
    case IP_TOS:
      if (!byte && (!number || *number < 0 || *number > 255)) return false;
      control.tos = byte ? *byte : static_cast<uint8_t>(*number);
      return true;
    default:
      return false;
  }
}

}  // namespace

std::optional<SendControl> read_send_control(const msghdr& message, const SendControl& otherwise,
                                             uint32_t ifindex) {
  SendControl control = otherwise;
  if (message.msg_controllen == 0) return control;
  if (!is_user_memory(message.msg_control, message.msg_controllen)) return std::nullopt;
  const auto* at = static_cast<const uint8_t*>(message.msg_control);
  size_t left = message.msg_controllen;
  // As for_each_cmsghdr() in include/linux/socket.h: what is shorter than a header ends it.
  while (left >= sizeof(cmsghdr)) {
    cmsghdr header;
    std::memcpy(&header, at, sizeof header);
    if (header.cmsg_len < sizeof header || header.cmsg_len > left) return std::nullopt;
    if (!apply(header, at + CMSG_LEN(0), ifindex, control)) return std::nullopt;
    const size_t whole = CMSG_ALIGN(header.cmsg_len);
    if (whole >= left) break;
    at += whole;
    left -= whole;
  }
  return control;
}

}  // namespace underpass
