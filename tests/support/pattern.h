// pattern.h - a stream of bytes that can be checked at any offset
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

namespace underpass::test {

// Repeats after a prime number of bytes, so that no shift by whole segments or pages goes unseen.
class Pattern {
 public:
  Pattern() : bytes_(kPeriod + kMaxPiece) {
    std::mt19937 random(42);
    for (size_t i = 0; i < kPeriod; ++i) bytes_[i] = static_cast<uint8_t>(random());
    std::copy_n(bytes_.begin(), kMaxPiece, bytes_.begin() + kPeriod);
  }
  // At most kMaxPiece bytes are valid there.
  const uint8_t* at(uint64_t offset) const { return &bytes_[offset % kPeriod]; }
  bool matches(uint64_t offset, const uint8_t* data, size_t bytes) const {
    return std::memcmp(at(offset), data, bytes) == 0;
  }
  static constexpr size_t kMaxPiece = 65536;

 private:
  static constexpr size_t kPeriod = 1'000'003;
  std::vector<uint8_t> bytes_;
};

}  // namespace underpass::test
