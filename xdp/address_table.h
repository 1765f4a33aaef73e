// address_table.h - the interface's own addresses in the control memory, behind a seqlock
#pragma once

#include <array>
#include <span>

#include "xdp/control_abi.h"

namespace underpass {

// What was there at one moment. The broker alone writes; readers take no lock.
struct AddressTable {
  std::array<LocalAddress, kMaxLocalAddresses> entries;
  uint32_t count = 0;
  std::span<const LocalAddress> all() const { return {entries.data(), count}; }
};

// Does not wait for a broker that was killed while it wrote: then what is there is as good as any.
AddressTable read_addresses(const Control& control);
// For the broker. More than kMaxLocalAddresses are not shown.
void write_addresses(Control& control, std::span<const LocalAddress> addresses);

}  // namespace underpass
