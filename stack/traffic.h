// traffic.h - what a connection has sent and received, as struct tcp_info counts it (tcp(7))
#pragma once

#include <cstdint>

struct tcp_pcb;

namespace underpass {

// Of one connection. Guarded by the stack mutex.
class Traffic {
 public:
  // Each segment of the connection, once. `bytes` are its payload.
  void sent(uint32_t sequence, uint32_t bytes, uint64_t now_ns);
  // `segments` that were joined to one.
  void received(uint32_t segments, uint32_t bytes, uint64_t now_ns);
  // After whatever may have taken acknowledgements.
  void follow(const tcp_pcb& pcb, uint64_t smoothed_rtt_ns, uint64_t now_ns);
  // Bytes that came in order, and the end of them, which counts as one.
  void came_in_order(uint32_t bytes) { bytes_received += bytes; }
  // A gap: segments that came out of order.
  void came_early() { ++out_of_order; }

  uint32_t segments_out = 0;
  uint32_t segments_in = 0;
  uint32_t data_segments_out = 0;
  uint32_t data_segments_in = 0;
  uint32_t resent_segments = 0;
  uint32_t out_of_order = 0;
  uint64_t bytes_sent = 0;
  uint64_t bytes_resent = 0;
  uint64_t bytes_acknowledged = 0;
  uint64_t bytes_received = 0;
  uint64_t bytes_a_second = 0;  // acknowledged, during the last round trip that had any
  uint64_t sent_data_ns = 0;    // 0: never
  uint64_t received_data_ns = 0;
  uint64_t received_ns = 0;

 private:
  void measure(uint64_t smoothed_rtt_ns, uint64_t now_ns);

  uint32_t sent_end_ = 0;
  uint32_t acknowledged_ = 0;
  bool started_ = false;
  uint64_t interval_began_ns_ = 0;
  uint64_t acknowledged_before_ = 0;
};

}  // namespace underpass
