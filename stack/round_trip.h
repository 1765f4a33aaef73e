// round_trip.h - how long a segment's acknowledgement takes, in microseconds (RFC 6298)
//
// lwIP measures in ticks, which is enough for its timer and says nothing of a local network. It
// picks the segment to time, and forgets it when one is sent again (Karn); here its choice is
// followed with our clock.
#pragma once

#include <cstdint>

struct tcp_pcb;

namespace underpass {

// Guarded by the stack mutex.
class RoundTrip {
 public:
  // 0: nothing measured yet.
  uint32_t smoothed_us() const { return static_cast<uint32_t>(smoothed_ns_ / 1000); }
  uint32_t variation_us() const { return static_cast<uint32_t>(variation_ns_ / 1000); }

  void sample(uint64_t ns);
  // After whatever may have sent segments or taken acknowledgements.
  void follow(const tcp_pcb& pcb, uint64_t now_ns);

 private:
  uint64_t smoothed_ns_ = 0;
  uint64_t variation_ns_ = 0;
  uint64_t started_ns_ = 0;
  uint32_t sequence_ = 0;
  bool timing_ = false;
};

}  // namespace underpass
