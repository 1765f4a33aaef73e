// round_trip.cpp - RFC 6298 2.2 and 2.3, Karn's algorithm and RFC 7323 4
#include "stack/round_trip.h"

#include <algorithm>

#include "stack/clock.h"
#include "stack/lwip_port/lwip.h"

namespace underpass {

void RoundTrip::sample(uint64_t ns, uint64_t now_ns) {
  constexpr uint64_t kMinWindowNs = 300 * kNsPerS;  // net.ipv4.tcp_min_rtt_wlen
  ns = std::max<uint64_t>(ns, 1000);                // Linux shows at least a microsecond
  if (ns <= smallest_ns_ || now_ns - smallest_at_ns_ > kMinWindowNs) {
    smallest_ns_ = ns;
    smallest_at_ns_ = now_ns;
  }
  if (smoothed_ns_ == 0) {
    smoothed_ns_ = ns;
    variation_ns_ = ns / 2;
    return;
  }
  const uint64_t difference = ns > smoothed_ns_ ? ns - smoothed_ns_ : smoothed_ns_ - ns;
  variation_ns_ = (3 * variation_ns_ + difference) / 4;
  smoothed_ns_ = (7 * smoothed_ns_ + ns) / 8;
}

void RoundTrip::heard(const tcp_pcb& pcb, uint32_t echo_ms, uint64_t now_ns) {
  if (!timing_ || !ambiguous_ || static_cast<int32_t>(pcb.lastack - sequence_) < 0) return;
  // As tcp_rtt_tsopt_us(): the stamp is our clock's milliseconds, and less than one counts as one.
  const auto now_ms = static_cast<uint32_t>(now_ns / kNsPerMs);
  const uint64_t ns = uint64_t{std::max(now_ms - echo_ms, 1U)} * kNsPerMs;
  // No longer ago than when it was first sent.
  if (ns <= now_ns - started_ns_ + kNsPerMs) sample(ns, now_ns);
}

void RoundTrip::follow(const tcp_pcb& pcb, uint64_t now_ns) {
  // lwIP's own retransmissions.
  if (pcb.nrtx != 0) ambiguous_ = true;
  if (timing_ && static_cast<int32_t>(pcb.lastack - sequence_) >= 0) {
    timing_ = false;
    if (!ambiguous_) sample(now_ns - started_ns_, now_ns);
  }
  if (pcb.snd_nxt == sent_) return;
  sent_ = pcb.snd_nxt;
  // The byte of a window probe is acknowledged when the peer's program reads.
  if (timing_ || pcb.state < ESTABLISHED || pcb.nrtx != 0 || pcb.persist_backoff != 0) return;
  if (static_cast<int32_t>(sent_ - pcb.lastack) <= 0) return;
  timing_ = true;
  ambiguous_ = false;
  sequence_ = sent_;
  started_ns_ = now_ns;
}

}  // namespace underpass
