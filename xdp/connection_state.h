// connection_state.h - a TCP connection as plain numbers: what TCP_REPAIR restores in the kernel
//
// The bytes of its queues go beside it, one behind the other: unread, in flight, unsent. Sequence
// numbers leave FINs out: `receive_next` and `send_unacked` are those of bytes of data, also when
// a FIN has been received or acknowledged. Sent to the broker as it is.
#pragma once

#include <cstdint>
#include <vector>

#include "base/address.h"

namespace underpass {

// Those of include/net/tcp_states.h; others cannot be moved.
enum class MovedState : uint32_t {
  kEstablished = 1,
  kFinWait1 = 4,
  kFinWait2 = 5,
  kTimeWait = 6,
  kCloseWait = 8,
  kLastAck = 9,
  kClosing = 11,
};

struct ConnectionState {
  SocketAddress local;
  SocketAddress remote;
  MovedState state;
  uint32_t receive_next;  // behind the unread bytes
  uint32_t send_unacked;  // of the first byte in flight
  uint32_t unread_bytes;
  uint32_t in_flight_bytes;  // sent once at least, and not acknowledged
  uint32_t unsent_bytes;
  uint32_t send_window;
  uint32_t largest_send_window;
  uint32_t send_window_update;  // the sequence number of the segment that brought it
  uint32_t receive_window;      // as it was announced
  uint16_t mss;
  uint8_t send_scale;  // both mean something only with `window_scaling`
  uint8_t receive_scale;
  uint8_t window_scaling;
  uint8_t selective_acks;
  uint8_t timestamps;
  // It must not queue more than the stack can take back (kMaxReturningBytes).
  uint8_t may_return;
  uint32_t timestamp;       // of our clock, in milliseconds, now
  uint32_t peer_timestamp;  // the last one of the peer's; 0: not known, as the kernel tells none
  // Not restored by the kernel. 0: not known.
  uint32_t round_trip_us;
  uint32_t congestion_window_segments;

  uint64_t queued_bytes() const { return uint64_t{unread_bytes} + in_flight_bytes + unsent_bytes; }
};

// A connection as it is at one moment, outside of lwIP and of the kernel.
struct ConnectionSnapshot {
  ConnectionState state;
  std::vector<uint8_t> bytes;  // unread, in flight, unsent
};

// What a connection that may come back queues at most, to be sent.
constexpr uint32_t kMaxReturningBytes = 1024 * 1024;
// Of one connection: more than both of the stack's buffers hold.
constexpr uint64_t kMaxQueuedBytes = uint64_t{8} << 20U;

}  // namespace underpass
