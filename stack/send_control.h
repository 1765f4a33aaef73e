// send_control.h - what one datagram's control data asks for (ip(7), RFC 3542, cmsg(3))
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <optional>

#include "base/address.h"

namespace underpass {

// How a datagram leaves.
struct SendControl {
  IpAddress source;  // a wildcard: as the socket is bound. Of the family that it is sent over
  uint8_t ttl;       // 0: the route's
  uint8_t tos;
};

// `otherwise` with what the control data changes: the source of IP_PKTINFO or IPV6_PKTINFO, TTL or
// hop limit, TOS or traffic class. Nothing: there is something in it that is the kernel's to do or
// to refuse, as another interface than `ifindex`. As ip_cmsg_send() in net/ipv4/ip_sockglue.c and
// ip6_datagram_send_ctl() in net/ipv6/datagram.c.
std::optional<SendControl> read_send_control(const msghdr& message, const SendControl& otherwise,
                                             uint32_t ifindex);

}  // namespace underpass
