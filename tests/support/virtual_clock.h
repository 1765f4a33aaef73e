// virtual_clock.h - the time of a test: it passes only when the test says so
#pragma once

#include <cstdint>

namespace underpass::test {

// One for a process, because Stack::Setup::clock is a plain function. Starts late enough that
// subtracting an hour does not wrap.
struct VirtualClock {
  static inline uint64_t now_ns = 100'000'000'000'000;
  static uint64_t now() { return now_ns; }
  static void advance(uint64_t ns) { now_ns += ns; }
};

}  // namespace underpass::test
