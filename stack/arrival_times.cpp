// arrival_times.cpp - runs of bytes that came together
#include "stack/arrival_times.h"

#include <algorithm>

namespace underpass {

void ArrivalTimes::start(size_t unread_bytes) {
  stop();
  on_ = true;
  if (unread_bytes != 0) runs_.push_back({unread_bytes, 0});
}

void ArrivalTimes::stop() {
  on_ = false;
  runs_.clear();
}

void ArrivalTimes::came(size_t bytes, uint64_t realtime_ns) {
  if (on_ && bytes != 0) runs_.push_back({bytes, realtime_ns});
}

uint64_t ArrivalTimes::of(size_t bytes) const {
  for (const Run& run : runs_) {
    if (bytes <= run.bytes) return run.realtime_ns;
    bytes -= run.bytes;
  }
  return 0;
}

void ArrivalTimes::read(size_t bytes) {
  while (bytes != 0 && !runs_.empty()) {
    Run& run = runs_.front();
    const size_t part = std::min(bytes, run.bytes);
    run.bytes -= part;
    bytes -= part;
    if (run.bytes == 0) runs_.pop_front();
  }
}

}  // namespace underpass
