// neighbour_table.cpp - a seqlock for each entry
#include "xdp/neighbour_table.h"

#include <algorithm>
#include <cstring>

namespace underpass {

NeighbourView read_neighbour(const Neighbour& entry) {
  NeighbourView view;
  for (;;) {
    const uint32_t before = entry.sequence.load(std::memory_order_acquire);
    std::memcpy(view.ip.bytes.data(), entry.ip, sizeof entry.ip);
    std::memcpy(view.mac.data(), entry.mac, sizeof entry.mac);
    view.state = entry.state.load(std::memory_order_relaxed);
    view.failures = entry.failures.load(std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_acquire);
    if ((before & 1U) == 0 && entry.sequence.load(std::memory_order_relaxed) == before) return view;
    // A writer that died half-way leaves it odd for ever: nothing that can be used.
    if ((before & 1U) != 0) break;
  }
  view.state = NeighbourState::kEmpty;
  return view;
}

void write_neighbour(Neighbour& entry, const NeighbourView& view) {
  // Odd while it is written and even after, whatever somebody else has made of it; and never again
  // 0, which says that there is no entry.
  const uint32_t sequence = entry.sequence.load(std::memory_order_relaxed) & ~1U;
  entry.sequence.store(sequence + 1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  std::memcpy(entry.ip, view.ip.bytes.data(), sizeof entry.ip);
  std::memcpy(entry.mac, view.mac.data(), sizeof entry.mac);
  entry.state.store(view.state, std::memory_order_relaxed);
  entry.failures.store(view.failures, std::memory_order_relaxed);
  entry.sequence.store(std::max(sequence + 2, 2U), std::memory_order_release);
}

Neighbour* find_neighbour(Control& control, const IpAddress& ip, NeighbourView& view) {
  for (uint32_t step = 0; step < kNeighbourWindow; ++step) {
    Neighbour& entry = control.neighbours[neighbour_index(ip, step)];
    if (entry.sequence.load(std::memory_order_relaxed) == 0) return nullptr;
    view = read_neighbour(entry);
    if (view.ip == ip) return &entry;
  }
  return nullptr;
}

}  // namespace underpass
