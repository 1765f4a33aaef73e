// umem.h - where a chunk is, and whose run it belongs to (the layout of control_abi.h)
#pragma once

#include <cstdint>

#include "base/limits.h"

namespace underpass {

constexpr uint64_t umem_bytes(uint32_t queues, uint32_t slots) {
  return (uint64_t{queues} * kRxFramesPerQueue + uint64_t{slots} * kTxFramesPerSlot) * kFrameBytes;
}
// The kernel's address points behind its headroom; the chunk begins at a multiple of kFrameBytes.
constexpr uint32_t chunk_of(uint64_t address) {
  return static_cast<uint32_t>(address / kFrameBytes);
}
constexpr uint64_t chunk_address(uint32_t chunk) { return uint64_t{chunk} * kFrameBytes; }
constexpr uint32_t queue_of_rx_chunk(uint32_t chunk) { return chunk / kRxFramesPerQueue; }
// Index into Control::tx_in_flight of a slot's first tx chunk.
constexpr uint32_t first_tx_index(uint32_t slot) { return slot * kTxFramesPerSlot; }
constexpr uint32_t tx_chunk(uint32_t queues, uint32_t tx_index) {
  return queues * kRxFramesPerQueue + tx_index;
}

}  // namespace underpass
