// slots.h - the descriptors that a sequence has made, by the names that it gives them
#pragma once

#include <array>
#include <cstddef>
#include <mutex>
#include <vector>

namespace diff {

constexpr size_t kSlots = 64;

// Used by the workers and the control thread. A name keeps its number when it is closed, as a
// variable of a program does.
class Slots {
 public:
  int at(size_t slot) const {
    const std::lock_guard lock(mutex_);
    return slot < kSlots ? fds_[slot] : -1;
  }
  void put(size_t slot, int fd) {
    const std::lock_guard lock(mutex_);
    made_.push_back(fd);
    if (slot < kSlots) fds_[slot] = fd;
  }
  // Every number that the sequence was given, also those without a name.
  std::vector<int> made() const {
    const std::lock_guard lock(mutex_);
    return made_;
  }
  // Each that has a name: the slot and the descriptor.
  std::vector<std::pair<size_t, int>> named() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::pair<size_t, int>> all;
    for (size_t slot = 0; slot < kSlots; ++slot) {
      if (fds_[slot] >= 0) all.emplace_back(slot, fds_[slot]);
    }
    return all;
  }
  void clear() {
    const std::lock_guard lock(mutex_);
    fds_.fill(-1);
    made_.clear();
  }

  Slots() { fds_.fill(-1); }

 private:
  mutable std::mutex mutex_;
  std::array<int, kSlots> fds_{};
  std::vector<int> made_;
};

}  // namespace diff
