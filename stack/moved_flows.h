// moved_flows.h - connections that have left the stack a moment ago
//
// Frames of theirs may still be in the rings, or between the steering program and the rings. They
// are dropped without a word: the peer sends them again, to the kernel.
#pragma once

#include <cstdint>
#include <deque>
#include <unordered_set>

#include "stack/demux.h"

namespace underpass {

// Guarded by the stack mutex.
class MovedFlows {
 public:
  void add(const FourTuple& flow, uint64_t now_ns);
  // Taken back.
  void remove(const FourTuple& flow);
  bool has(const FourTuple& flow, uint64_t now_ns);

 private:
  void forget(uint64_t now_ns);

  struct Entry {
    uint64_t until_ns;
    FourTuple flow;
  };
  std::deque<Entry> by_age_;
  std::unordered_multiset<FourTuple, FlowHash> flows_;
};

}  // namespace underpass
