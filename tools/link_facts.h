// link_facts.h - what the kernel says about a network interface
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"

namespace underpass {

struct LinkFacts {
  std::string name;
  unsigned index = 0;
  bool up = false;
  bool loopback = false;
  uint32_t mtu_bytes = 0;
  std::string kind;    // "veth", "bridge", ...; empty for hardware
  std::string driver;  // as `ethtool -i`; empty when the driver does not say
  uint32_t rx_queues = 0;
  uint32_t xdp_program_id = 0;  // 0: none attached
  bool has_ipv4 = false;
  bool has_ipv6 = false;  // other than link-local
  // For a veth whose peer is in the same namespace.
  std::string peer;
  // Native XDP and zero copy, where the kernel tells (6.3 and later).
  std::optional<bool> native_xdp;
  std::optional<bool> zero_copy;
};

// ENODEV: there is no such interface in this network namespace. Needs no privilege.
Result<LinkFacts> link_facts(const std::string& name);

struct OffloadFacts {
  bool gro = false;  // received segments are aggregated
  bool tso = false;  // segments to send are cut late
};
OffloadFacts offload_facts(const std::string& name);

// Drivers with native XDP since Linux 5.10, for kernels that do not tell.
bool driver_known_native(const std::string& driver);

}  // namespace underpass
