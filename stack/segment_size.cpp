// segment_size.cpp - lwIP's own splitting, for every segment
#include "stack/segment_size.h"

#include <algorithm>
#include <utility>

#include "stack/lwip_port/lwip.h"

namespace underpass {

namespace {

// lwIP splits the first segment of what is unsent: each is put there for that.
void split_all(tcp_pcb& pcb, tcp_seg* first) {
  tcp_seg* const unsent = pcb.unsent;
  for (tcp_seg* at = first; at != nullptr; at = at->next) {
    const int options = LWIP_TCP_OPT_LENGTH(at->flags);
    const auto limit = static_cast<uint16_t>(pcb.mss - options);
    if (at->len <= limit) continue;
    const uint16_t moved = TCPH_FLAGS(at->tcphdr) & (TCP_FIN | TCP_PSH);
    pcb.unsent = at;
    if (tcp_split_unsent_seg(&pcb, limit) != ERR_OK) break;
    // The remainder has them, and lwIP leaves them here too.
    TCPH_UNSET_FLAG(at->tcphdr, moved);
  }
  pcb.unsent = unsent;
}

}  // namespace

void fit_segments(tcp_pcb& pcb, uint16_t mss) {
  const bool smaller = mss < std::exchange(pcb.mss, mss);
  if (!smaller) return;
  split_all(pcb, pcb.unacked);
  split_all(pcb, pcb.unsent);
  // What is written next begins a segment of its own.
  pcb.unsent_oversize = 0;
}

}  // namespace underpass
