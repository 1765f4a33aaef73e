// icmp_watch.h - the kernel's copies of ICMP errors about TCP, for those who are not its own
//
// The kernel gets every ICMP and ICMPv6 message. Of a bypassed connection it knows nothing, so it
// drops what a router says of it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/fd.h"
#include "xdp/broker/nic.h"
#include "xdp/unreachable.h"

namespace underpass {

// `packet` begins at its IPv4 header and may be anything. Nothing: it is no error about a TCP
// segment, or one that does not end a connect (fragmentation needed).
std::optional<Unreachable> parse_icmp_error(std::span<const uint8_t> packet);
// `message` begins at its ICMPv6 header, and its checksum is right: the kernel has looked (raw6 has
// it in rawv6_init_sk()). "Packet too big" is EMSGSIZE, with the MTU.
std::optional<Unreachable> parse_icmpv6_error(std::span<const uint8_t> message);

class IcmpWatch {
 public:
  // Throws Refusal.
  explicit IcmpWatch(const Nic& nic);
  // To be polled; -1 where the kernel has no IPv6.
  int fd() const { return raw_.get(); }
  int fd_v6() const { return raw_v6_.get(); }
  // The next message, without waiting; false when there is none. `out` is empty where it says
  // nothing of interest.
  bool next(std::optional<Unreachable>& out);

 private:
  Fd raw_;
  Fd raw_v6_;
};

}  // namespace underpass
