// ring.h - the four rings shared with the kernel (Documentation/networking/af_xdp.rst)
//
// Single producer, single consumer, indices that run freely. Where several processes share one side
// (fill, completion), they hold a lock and take the index from the ring itself, never from a cache.
#pragma once

#include <linux/if_xdp.h>

#include <cstdint>

namespace underpass {

// One mapped ring of Entry (uint64_t addresses, or xdp_desc). A view: the mapping belongs to
// XskRings.
template <class Entry>
class Ring {
 public:
  Ring() = default;
  Ring(void* map, const xdp_ring_offset& offsets, uint32_t entries)
      : producer_(at<uint32_t>(map, offsets.producer)),
        consumer_(at<uint32_t>(map, offsets.consumer)),
        flags_(at<uint32_t>(map, offsets.flags)),
        entries_(at<Entry>(map, offsets.desc)),
        mask_(entries - 1) {}

  uint32_t load_producer() const { return __atomic_load_n(producer_, __ATOMIC_ACQUIRE); }
  uint32_t load_consumer() const { return __atomic_load_n(consumer_, __ATOMIC_ACQUIRE); }
  // The own side's index needs no ordering: nobody else writes it.
  uint32_t own_producer() const { return __atomic_load_n(producer_, __ATOMIC_RELAXED); }
  uint32_t own_consumer() const { return __atomic_load_n(consumer_, __ATOMIC_RELAXED); }
  void store_producer(uint32_t index) { __atomic_store_n(producer_, index, __ATOMIC_RELEASE); }
  void store_consumer(uint32_t index) { __atomic_store_n(consumer_, index, __ATOMIC_RELEASE); }
  Entry& operator[](uint32_t index) { return entries_[index & mask_]; }
  const Entry& operator[](uint32_t index) const { return entries_[index & mask_]; }
  uint32_t capacity() const { return mask_ + 1; }
  bool needs_wakeup() const {
    return (__atomic_load_n(flags_, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP) != 0;
  }
  bool valid() const { return producer_ != nullptr; }

 private:
  template <class T>
  static T* at(void* map, uint64_t offset) {
    return reinterpret_cast<T*>(static_cast<uint8_t*>(map) + offset);
  }

  uint32_t* producer_ = nullptr;
  uint32_t* consumer_ = nullptr;
  uint32_t* flags_ = nullptr;
  Entry* entries_ = nullptr;
  uint32_t mask_ = 0;
};

}  // namespace underpass
