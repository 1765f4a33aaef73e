// arrival_times.h - when the unread bytes of a connection came, for SO_TIMESTAMP and its kin
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>

namespace underpass {

// Counts the same bytes as the queue beside it. Guarded by the stack mutex.
class ArrivalTimes {
 public:
  bool on() const { return on_; }
  // Of what is unread now nobody knows.
  void start(size_t unread_bytes);
  void stop();
  void came(size_t bytes, uint64_t realtime_ns);
  // When the last of so many unread bytes came; 0: nobody knows.
  uint64_t of(size_t bytes) const;
  void read(size_t bytes);

 private:
  struct Run {
    size_t bytes;
    uint64_t realtime_ns;
  };
  bool on_ = false;
  std::list<Run> runs_;  // of a connection that notes none, no memory
};

}  // namespace underpass
