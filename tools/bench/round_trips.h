// round_trips.h - every round trip of one run: percentiles and a histogram, as JSON
//
// Header only: each tools/bench/*.cpp is linked as a program of its own.
#pragma once

#include <time.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <map>
#include <vector>

namespace underpass::bench {

inline uint64_t now_ns() {
  timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return static_cast<uint64_t>(at.tv_sec) * 1'000'000'000U + static_cast<uint64_t>(at.tv_nsec);
}

// Not thread-safe. Memory is taken, and touched, before the run.
class RoundTrips {
 public:
  explicit RoundTrips(size_t capacity) {
    samples_ns_.resize(capacity);
    samples_ns_.clear();
  }

  bool full() const { return samples_ns_.size() == samples_ns_.capacity(); }
  void record(uint64_t ns) { samples_ns_.push_back(static_cast<uint32_t>(std::min(ns, kMost))); }

  // One way is half a round trip. Of a histogram's bucket, the lower bound.
  void print(uint64_t lost) {
    std::sort(samples_ns_.begin(), samples_ns_.end());
    std::printf("{\"samples\": %zu, \"lost\": %llu", samples_ns_.size(),
                static_cast<unsigned long long>(lost));
    print_one_way("p50", 0.5);
    print_one_way("p99", 0.99);
    print_one_way("p999", 0.999);
    std::printf(", \"histogram\": [");
    const char* separator = "";
    for (const auto& [ns, count] : histogram()) {
      std::printf("%s[%g, %llu]", separator, ns / 2.0, static_cast<unsigned long long>(count));
      separator = ", ";
    }
    std::printf("]}\n");
  }

 private:
  static constexpr uint64_t kMost = UINT32_MAX;
  // Buckets of 1.5 % of their value: finer than any difference that is talked about.
  static constexpr uint32_t kBitsInBucket = 6;

  // Nearest rank: a value that was measured.
  void print_one_way(const char* name, double share) const {
    if (samples_ns_.empty()) return;
    const auto last = samples_ns_.size() - 1;
    const auto rank = static_cast<size_t>(share * static_cast<double>(last) + 0.5);
    std::printf(", \"%s_ns\": %g", name, samples_ns_[rank] / 2.0);
  }

  std::map<uint32_t, uint64_t> histogram() const {
    std::map<uint32_t, uint64_t> counts;
    for (const uint32_t ns : samples_ns_) {
      const uint32_t bits = static_cast<uint32_t>(std::bit_width(ns));
      const uint32_t shift = bits > kBitsInBucket ? bits - kBitsInBucket : 0;
      counts[ns >> shift << shift]++;
    }
    return counts;
  }

  std::vector<uint32_t> samples_ns_;
};

}  // namespace underpass::bench
