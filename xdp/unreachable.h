// unreachable.h - what a router or a host said of a connection's first segment (RFC 792, RFC 4443)
#pragma once

#include "base/address.h"

namespace underpass {

struct Unreachable {
  SocketAddress local;
  SocketAddress remote;
  // Of the segment that it quotes: who forges one has to know it.
  uint32_t sequence = 0;
  int error = 0;           // as icmp_err_convert[] or icmpv6_err_convert() of Linux has it
  uint32_t mtu_bytes = 0;  // of EMSGSIZE: what fits
};

}  // namespace underpass
