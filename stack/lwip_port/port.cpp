// port.cpp - what lwIP asks of its surroundings: time, sequence numbers, checksums, assertions
#include "stack/lwip_port/lwip.h"

#include <sys/random.h>

#include <cstdlib>
#include <cstring>

#include "base/siphash.h"
#include "base/sys.h"
#include "stack/clock.h"
#include "stack/packet.h"

namespace underpass {

namespace {
uint64_t lwip_now_ns = 0;
}

ip_addr_t to_lwip(const IpAddress& ip) {
  ip_addr_t out{};
  if (ip.is_v4()) {
    ip_addr_set_ip4_u32_val(out, ip.v4());
  } else {
    std::memcpy(ip_2_ip6(&out)->addr, ip.bytes.data(), ip.bytes.size());
    IP_SET_TYPE_VAL(out, IPADDR_TYPE_V6);
  }
  return out;
}

IpAddress from_lwip(const ip_addr_t& ip) {
  if (IP_IS_V4_VAL(ip)) return IpAddress::from_v4(ip4_addr_get_u32(ip_2_ip4(&ip)));
  IpAddress out;
  std::memcpy(out.bytes.data(), ip_2_ip6(&ip)->addr, out.bytes.size());
  return out;
}

void set_lwip_time(uint64_t now_ns) {
  lwip_now_ns = now_ns;
  // lwIP counts slow ticks itself; nobody calls it while there is nothing to time, so they are
  // derived.
  tcp_ticks = static_cast<u32_t>(now_ns / (uint64_t{TCP_SLOW_INTERVAL} * kNsPerMs));
}

}  // namespace underpass

extern "C" {

u32_t sys_now(void) { return static_cast<u32_t>(underpass::lwip_now_ns / underpass::kNsPerMs); }

// RFC 6528: ISN = M + F(4-tuple, secret), M a clock of 4 microseconds.
u32_t underpass_tcp_isn(const ip_addr_t* local_ip, u16_t local_port, const ip_addr_t* remote_ip,
                        u16_t remote_port) {
  static const underpass::SipKey key = underpass::random_sip_key();
  struct {
    underpass::IpAddress local, remote;
    u16_t local_port, remote_port;
  } flow{underpass::from_lwip(*local_ip), underpass::from_lwip(*remote_ip), local_port,
         remote_port};
  const uint64_t hash = underpass::siphash(key, &flow, sizeof flow);
  return static_cast<u32_t>(hash) + static_cast<u32_t>(underpass::lwip_now_ns / 4000);
}

u16_t underpass_chksum(const void* data, int bytes) {
  return underpass::checksum(data, static_cast<size_t>(bytes));
}

void underpass_lwip_assert(const char* message) {
  underpass::sys::write(2, message, std::strlen(message));
  underpass::sys::write(2, "\n", 1);
  std::abort();
}
}
