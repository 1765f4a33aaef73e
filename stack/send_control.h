// send_control.h - what one datagram's control data asks for (ip(7), cmsg(3))
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <optional>

#include "base/address.h"

namespace underpass {

// How a datagram leaves.
struct SendControl {
  IpAddress source;  // a wildcard: as the socket is bound
  uint8_t ttl;
  uint8_t tos;
};

// `otherwise` with what the control data changes: IP_PKTINFO's source, IP_TTL, IP_TOS. Nothing:
// there is something in it that is the kernel's to do or to refuse, as another interface than
// `ifindex`. As ip_cmsg_send() in net/ipv4/ip_sockglue.c.
std::optional<SendControl> read_send_control(const msghdr& message, const SendControl& otherwise,
                                             uint32_t ifindex);

}  // namespace underpass
