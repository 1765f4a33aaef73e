// neighbour_table.h - where a neighbour's entry is, and how it is read and written
//
// Open addressing in a window behind the hash. The broker alone writes; readers take no lock.
#pragma once

#include "base/address.h"
#include "xdp/control_abi.h"

namespace underpass {

// Entries that an address may be in. Both sides look no further, so a full window only means that
// the entry least recently used makes room.
constexpr uint32_t kNeighbourWindow = 32;

inline uint32_t neighbour_index(const IpAddress& ip, uint32_t step) {
  uint32_t hash = 2166136261U;  // FNV-1a
  for (const uint8_t byte : ip.bytes) hash = (hash ^ byte) * 16777619U;
  return (hash + step) % kMaxNeighbours;
}

// What a reader sees of an entry: never half of a change.
struct NeighbourView {
  IpAddress ip{};
  MacAddress mac{};
  NeighbourState state = NeighbourState::kEmpty;
  uint32_t failures = 0;  // times that the kernel gave up asking for it; wraps
};
NeighbourView read_neighbour(const Neighbour& entry);
// For the broker.
void write_neighbour(Neighbour& entry, const NeighbourView& view);

// The entry of `ip`, or null. An entry that was never used ends the search.
Neighbour* find_neighbour(Control& control, const IpAddress& ip, NeighbourView& view);

}  // namespace underpass
