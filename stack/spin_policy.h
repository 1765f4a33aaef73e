// spin_policy.h - whether the next wait should spin before it sleeps
#pragma once

#include <algorithm>
#include <cstdint>

namespace underpass {

// Spinning pays where the answer comes within the limit. Where it has not, several times in a row
// (an idle server; a peer that needs this very core), waits sleep at once, and spinning is tried
// again ever more rarely. Guarded by the stack mutex.
class SpinPolicy {
 public:
  void set_limit_ns(uint64_t limit_ns) { limit_ns_ = limit_ns; }

  // For how long this wait may spin; 0: not at all.
  uint64_t budget_ns() {
    if (misses_ < kMissesToStop) return limit_ns_;
    if (++skipped_ < pause_) return 0;
    skipped_ = 0;
    return limit_ns_;
  }
  void found() {
    misses_ = 0;
    pause_ = kFirstPause;
  }
  void missed() {
    if (misses_ < kMissesToStop) {
      ++misses_;
    } else {
      pause_ = std::min(pause_ * 2, kLongestPause);
    }
  }

 private:
  static constexpr uint32_t kMissesToStop = 4;
  static constexpr uint32_t kFirstPause = 16;
  static constexpr uint32_t kLongestPause = 1024;

  uint64_t limit_ns_ = 0;
  uint32_t misses_ = 0;
  uint32_t skipped_ = 0;
  uint32_t pause_ = kFirstPause;
};

}  // namespace underpass
