// nic.h - what the broker needs to know of the interface before it touches it
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "base/address.h"

namespace underpass {

struct Nic {
  std::string name;
  uint32_t index = 0;
  MacAddress mac{};
  uint32_t mtu_bytes = 0;
  uint32_t rx_queues = 1;  // in use
  uint32_t tx_queues = 1;
  // Of the receive queues, the first ones that can send.
  uint32_t sending_queues() const { return std::min(rx_queues, tx_queues); }
  std::string driver;  // as ethtool -i has it; empty if it does not say
};

// Throws Refusal: no such interface, or one that cannot be served.
Nic examine_nic(const std::string& name);

}  // namespace underpass
