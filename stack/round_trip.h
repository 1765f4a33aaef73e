// round_trip.h - how long a segment's acknowledgement takes, in microseconds (RFC 6298)
//
// lwIP measures in ticks, which says nothing of a local network, and loses count when loss_recovery
// sends again. One burst of segments is timed at a time, to its last byte.
#pragma once

#include <algorithm>
#include <cstdint>

struct tcp_pcb;

namespace underpass {

// Guarded by the stack mutex.
class RoundTrip {
 public:
  // 0: nothing measured yet.
  uint32_t smoothed_us() const { return static_cast<uint32_t>(smoothed_ns_ / 1000); }
  uint32_t variation_us() const { return static_cast<uint32_t>(variation_ns_ / 1000); }
  // The smallest of the last five minutes; ~0 before the first, as in Linux.
  uint32_t smallest_us() const {
    return static_cast<uint32_t>(std::min<uint64_t>(smallest_ns_ / 1000, UINT32_MAX));
  }
  bool measured() const { return smoothed_ns_ != 0; }
  uint64_t smoothed_ns() const { return smoothed_ns_; }
  // Once measured: when what is unacknowledged is sent again. Linux's tcp_rto_min is the least
  // that is added: less, and a peer's delayed ACK (40 ms) looks like a loss.
  uint64_t timeout_ns() const { return smoothed_ns_ + std::max(4 * variation_ns_, kMinMarginNs); }

  void sample(uint64_t ns, uint64_t now_ns);
  // After whatever may have sent segments or taken acknowledgements.
  void follow(const tcp_pcb& pcb, uint64_t now_ns);
  // Something was sent again: whose acknowledgement comes is not known (Karn).
  void sent_again() { ambiguous_ = true; }
  // After an acknowledgement with a timestamp, before follow(): which it was (RFC 7323 4).
  void heard(const tcp_pcb& pcb, uint32_t echo_ms, uint64_t now_ns);

 private:
  static constexpr uint64_t kMinMarginNs = 200'000'000;

  uint64_t smoothed_ns_ = 0;
  uint64_t variation_ns_ = 0;
  uint64_t smallest_ns_ = UINT64_MAX;
  uint64_t smallest_at_ns_ = 0;
  uint64_t started_ns_ = 0;
  uint32_t sequence_ = 0;  // acknowledged, it is over
  uint32_t sent_ = 0;      // what had been sent at the last look
  bool timing_ = false;
  bool ambiguous_ = false;
};

}  // namespace underpass
