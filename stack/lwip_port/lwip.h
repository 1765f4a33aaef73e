// lwip.h - lwIP's headers for C++, and the few words that translate between it and us
#pragma once

// Before lwIP's headers, whose htonl and friends are macros.
#include <netinet/in.h>

extern "C" {
#include "lwip/init.h"
#include "lwip/ip.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/tcp.h"
// Last: it changes what they define.
#include "stack/lwip_port/overrides.h"
}

#include "base/address.h"

namespace underpass {

ip_addr_t to_lwip(const IpAddress& ip);
IpAddress from_lwip(const ip_addr_t& ip);

// What lwIP's sys_now() says. Set before each entry into lwIP: time is a parameter.
void set_lwip_time(uint64_t now_ns);

}  // namespace underpass
