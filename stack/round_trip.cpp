// round_trip.cpp - RFC 6298 2.2 and 2.3
#include "stack/round_trip.h"

#include <algorithm>

#include "stack/lwip_port/lwip.h"

namespace underpass {

void RoundTrip::sample(uint64_t ns) {
  ns = std::max<uint64_t>(ns, 1000);  // Linux shows at least a microsecond
  if (smoothed_ns_ == 0) {
    smoothed_ns_ = ns;
    variation_ns_ = ns / 2;
    return;
  }
  const uint64_t difference = ns > smoothed_ns_ ? ns - smoothed_ns_ : smoothed_ns_ - ns;
  variation_ns_ = (3 * variation_ns_ + difference) / 4;
  smoothed_ns_ = (7 * smoothed_ns_ + ns) / 8;
}

void RoundTrip::follow(const tcp_pcb& pcb, uint64_t now_ns) {
  // lwIP would time what is sent again.
  if (pcb.nrtx != 0) timing_ = false;
  if (timing_ && (pcb.rttest == 0 || pcb.rtseq != sequence_)) {
    timing_ = false;
    if (static_cast<int32_t>(pcb.lastack - sequence_) > 0) sample(now_ns - started_ns_);
  }
  if (timing_ || pcb.rttest == 0 || pcb.nrtx != 0 || pcb.state < ESTABLISHED) return;
  timing_ = true;
  sequence_ = pcb.rtseq;
  started_ns_ = now_ns;
}

}  // namespace underpass
