// address_table.cpp - odd while being written
#include "xdp/address_table.h"

#include <algorithm>
#include <cstring>

namespace underpass {

AddressTable read_addresses(const Control& control) {
  // A writer needs well under a microsecond.
  constexpr int kTries = 10000;
  AddressTable table;
  for (int i = 0; i < kTries; ++i) {
    const uint32_t before = control.addresses_sequence.load(std::memory_order_acquire);
    table.count =
        std::min(control.address_count.load(std::memory_order_relaxed), kMaxLocalAddresses);
    std::memcpy(table.entries.data(), control.addresses, table.count * sizeof(LocalAddress));
    std::atomic_thread_fence(std::memory_order_acquire);
    const uint32_t after = control.addresses_sequence.load(std::memory_order_relaxed);
    if ((before & 1U) == 0 && before == after) break;
    __builtin_ia32_pause();
  }
  return table;
}

void write_addresses(Control& control, std::span<const LocalAddress> addresses) {
  const auto count = std::min<size_t>(addresses.size(), kMaxLocalAddresses);
  const uint32_t sequence = control.addresses_sequence.load(std::memory_order_relaxed) & ~1U;
  control.addresses_sequence.store(sequence + 1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  std::copy_n(addresses.begin(), count, control.addresses);
  control.address_count.store(static_cast<uint32_t>(count), std::memory_order_relaxed);
  control.addresses_sequence.store(sequence + 2, std::memory_order_release);
}

}  // namespace underpass
