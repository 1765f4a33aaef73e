// address_map.h - the host's addresses as the XDP program looks them up
#pragma once

#include <span>

#include "base/address.h"
#include "base/result.h"

namespace underpass {

struct OwnAddress {
  IpAddress ip;
  bool here;  // on the interface, else on another one
};

// Replaces what the map of `map_fd` has. E2BIG: they are too many; the first ones are there.
Result<void> set_own_addresses(int map_fd, std::span<const OwnAddress> addresses);
// Whether the host has it.
bool is_own_address(int map_fd, const IpAddress& ip);

}  // namespace underpass
