// traffic.cpp - counting
#include "stack/traffic.h"

#include <algorithm>

#include "stack/clock.h"
#include "stack/lwip_port/lwip.h"

namespace underpass {

void Traffic::sent(uint32_t sequence, uint32_t bytes, uint64_t now_ns) {
  ++segments_out;
  if (bytes == 0) return;
  ++data_segments_out;
  bytes_sent += bytes;
  sent_data_ns = now_ns;
  const uint32_t end = sequence + bytes;
  if (data_segments_out == 1 || static_cast<int32_t>(end - sent_end_) > 0) {
    sent_end_ = end;
    return;
  }
  ++resent_segments;
  bytes_resent += bytes;
}

void Traffic::received(uint32_t segments, uint32_t bytes, uint64_t now_ns) {
  segments_in += segments;
  received_ns = now_ns;
  if (bytes == 0) return;
  data_segments_in += segments;
  received_data_ns = now_ns;
}

void Traffic::follow(const tcp_pcb& pcb, uint64_t smoothed_rtt_ns, uint64_t now_ns) {
  if (!started_) {
    started_ = true;
    // The SYN of a connection that was accepted is not counted.
    acknowledged_ = pcb.lastack + (pcb.state == SYN_RCVD ? 1 : 0);
    interval_began_ns_ = now_ns;
  }
  if (static_cast<int32_t>(pcb.lastack - acknowledged_) <= 0) return;
  bytes_acknowledged += pcb.lastack - acknowledged_;
  acknowledged_ = pcb.lastack;
  measure(smoothed_rtt_ns, now_ns);
}

void Traffic::measure(uint64_t smoothed_rtt_ns, uint64_t now_ns) {
  const uint64_t passed_ns = now_ns - interval_began_ns_;
  if (passed_ns == 0 || passed_ns < smoothed_rtt_ns) return;
  // What began long ago was a pause.
  const uint64_t took_ns = std::min(passed_ns, std::max<uint64_t>(2 * smoothed_rtt_ns, 1));
  bytes_a_second = (bytes_acknowledged - acknowledged_before_) * kNsPerS / took_ns;
  acknowledged_before_ = bytes_acknowledged;
  interval_began_ns_ = now_ns;
}

}  // namespace underpass
