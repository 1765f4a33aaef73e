// segment_size.h - cuts what a connection has queued to a smaller MSS
#pragma once

#include <cstdint>

struct tcp_pcb;

namespace underpass {

// From now on `mss` bytes of options and data are the most that a segment has, those included that
// are queued or in flight (RFC 1191 6.5; tcp_sync_mss() and tcp_fragment() of Linux). The stack
// mutex guards it. Where memory runs out, segments stay as they are, to be cut at the next call.
void fit_segments(tcp_pcb& pcb, uint16_t mss);

}  // namespace underpass
