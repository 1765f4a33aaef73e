// urgent.h - urgent data of a connection (RFC 9293 3.8.5, as Linux takes it): lwIP knows none
//
// Of what the peer marks urgent, Linux means the one byte before the pointer: it is taken out of
// the stream, unless SO_OOBINLINE leaves it there, and reading stops where it was (the mark).
// Positions are counted in bytes from what the program reads next. Guarded by the stack mutex.
#pragma once

#include <cstddef>
#include <cstdint>

struct tcp_pcb;

namespace underpass {

// What was received.
class UrgentMark {
 public:
  // A segment's urgent pointer, whose byte lies `ahead` bytes beyond the last one that was received
  // in order, of which `unread` wait. True: it is news (SIGURG).
  bool pointed(int64_t ahead, size_t unread);
  // Where the byte is still to come: -1 where it is not awaited.
  int64_t awaited_at() const { return state_ == State::kAwaited ? at_ : -1; }
  void byte_came(uint8_t byte);
  // The program has read, or passed over, so many.
  void read(size_t bytes);

  bool none() const { return state_ == State::kNone; }
  // The byte can be read by MSG_OOB (POLLPRI).
  bool has_byte() const { return state_ == State::kHere; }
  bool is_awaited() const { return state_ == State::kAwaited; }
  uint8_t byte() const { return byte_; }
  void take() { state_ = State::kTaken; }
  // What is read next is behind the mark (SIOCATMARK).
  bool at_mark() const { return !none() && at_ == 0; }
  bool is_at(size_t bytes) const { return at_ == static_cast<int64_t>(bytes); }
  // How far from here the mark is; at it, or without one, as far as anybody reads.
  size_t distance() const { return none() || at_ <= 0 ? SIZE_MAX : static_cast<size_t>(at_); }

 private:
  enum class State : uint8_t { kNone, kAwaited, kHere, kTaken };

  State state_ = State::kNone;
  uint8_t byte_ = 0;
  int64_t at_ = 0;
};

// What is queued and was sent with MSG_OOB: each segment that has not been sent yet says where the
// last byte of all is (tcp_transmit_skb() in net/ipv4/tcp_output.c).
void mark_unsent_urgent(tcp_pcb& pcb);

}  // namespace underpass
