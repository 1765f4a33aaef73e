// shared_rings.cpp - filling with a note of what is under way, completing entry by entry
#include "xdp/shared_rings.h"

#include <algorithm>

#include "xdp/umem.h"

namespace underpass {

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr auto kRelease = std::memory_order_release;

// The entries are in the ring and noted; from here on anybody can do the rest, and do it twice.
void publish(Control& control, Ring<uint64_t>& fill, uint32_t from, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t chunk = chunk_of(fill[from + i]);
    if (chunk < kRxFrames) control.rx_owner[chunk].store(0, kRelaxed);
  }
  // The owners are cleared before the kernel can give the chunk to somebody else.
  fill.store_producer(from + count);
}

}  // namespace

uint32_t give_to_kernel(Control& control, uint32_t queue, Ring<uint64_t>& fill,
                        std::span<const uint64_t> addresses) {
  QueueLocks& note = control.locks[queue];
  const uint32_t producer = fill.own_producer();
  const uint32_t room = fill.capacity() - (producer - fill.load_consumer());
  const auto count = static_cast<uint32_t>(std::min<size_t>(room, addresses.size()));
  if (count == 0) return 0;
  for (uint32_t i = 0; i < count; ++i) fill[producer + i] = addresses[i];
  note.filling_from.store(producer, kRelease);
  note.filling_count.store(count, kRelease);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  publish(control, fill, producer, count);
  note.filling_count.store(0, kRelease);
  return count;
}

void finish_filling(Control& control, uint32_t queue, Ring<uint64_t>& fill) {
  QueueLocks& note = control.locks[queue];
  const uint32_t count = note.filling_count.load(std::memory_order_acquire);
  const uint32_t from = note.filling_from.load(kRelaxed);
  // A note that the ring has gone past is of work that was done.
  if (count != 0 && count <= fill.capacity() && from == fill.own_producer()) {
    publish(control, fill, from, count);
  }
  note.filling_count.store(0, kRelease);
}

void take_completions(Control& control, uint32_t queues, Ring<uint64_t>& completion) {
  const uint32_t first_tx_chunk = queues * kRxFramesPerQueue;
  const uint32_t from = completion.own_consumer();
  const uint32_t count = std::min(completion.load_producer() - from, completion.capacity());
  for (uint32_t i = from; i != from + count; ++i) {
    const uint32_t index = chunk_of(completion[i]) - first_tx_chunk;
    if (index < kTxFrames) control.tx_in_flight[index].store(0, kRelease);
    // Each by itself: whoever is killed here must not leave entries that the next reads again,
    // when their chunks may be in flight anew.
    completion.store_consumer(i + 1);
  }
}

}  // namespace underpass
