// tcp_endpoint.h - one TCP connection of the stack
//
// Lives as long as it has an owner (a SocketFile or a listener's queue) or a pcb (lwIP still has
// data, a FIN or TIME_WAIT to see through). Every method needs the stack mutex and none blocks;
// errors are Linux's.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "stack/arrival_times.h"
#include "stack/demux.h"
#include "stack/loss_recovery.h"
#include "stack/readiness.h"
#include "stack/round_trip.h"
#include "stack/stack.h"
#include "stack/timer_wheel.h"
#include "stack/traffic.h"
#include "stack/urgent.h"
#include "xdp/connection_state.h"

struct pbuf;
struct tcp_pcb;
struct tcp_seg;

namespace underpass {

class TcpListener;

// Told when something happens that poll(2) would report.
class EndpointOwner {
 public:
  virtual ~EndpointOwner() = default;
  virtual void endpoint_event(Readiness events) UP_REQUIRES(stack_mutex) = 0;
  // The process ends, or leaves bypass: it gives the connection to the kernel, if that can be.
  virtual void endpoint_moves_out(bool may_return) UP_REQUIRES(stack_mutex) {
    static_cast<void>(may_return);
  }
  // The program has left bypass, or has come back: of a datagram socket.
  virtual void endpoint_relocated() UP_REQUIRES(stack_mutex) {}
  // Of a listener: other processes have its kernel socket, too.
  virtual bool endpoint_is_shared() const UP_REQUIRES(stack_mutex) { return false; }
  // Of a listener: it is the other processes' from now on.
  virtual void endpoint_leaves() UP_REQUIRES(stack_mutex) {}
  // The peer has said that there is urgent data: SIGURG for whoever wants it.
  virtual void endpoint_urgent() UP_REQUIRES(stack_mutex) {}
};

struct TcpOptions {
  bool no_delay = false;
  bool keep_alive = false;
  bool cork = false;
  uint32_t keep_idle_ms = 7'200'000;  // tcp(7): tcp_keepalive_time
  uint32_t keep_interval_ms = 75'000;
  uint32_t keep_count = 9;
  uint32_t user_timeout_ms = 0;  // TCP_USER_TIMEOUT; 0: as long as tcp_retries2 says
  uint8_t syn_retries = 6;       // TCP_SYNCNT
  uint8_t synack_retries = 5;    // net.ipv4.tcp_synack_retries, or a listener's TCP_SYNCNT
  uint8_t ttl = 64;
  uint8_t tos = 0;
  // The same over IPv6, which a socket of both families has beside them. 0: the route's.
  uint8_t hop_limit = 0;
  uint8_t traffic_class = 0;
  bool urgent_inline = false;      // SO_OOBINLINE
  bool note_arrivals = false;      // SO_TIMESTAMP and its kin
  uint32_t receive_low_water = 1;  // SO_RCVLOWAT
  // SO_RCVBUF and SO_SNDBUF as they read back, twice what was set (socket(7)). 0: not set.
  uint32_t receive_buffer_bytes = 0;
  uint32_t send_buffer_bytes = 0;
  uint32_t window_clamp_bytes = 0;           // TCP_WINDOW_CLAMP; 0: none
  uint32_t not_sent_low_water = UINT32_MAX;  // TCP_NOTSENT_LOWAT
  uint32_t defer_accept_s = 0;               // TCP_DEFER_ACCEPT as it reads back; 0: off
  int linger2_s = 0;                         // TCP_LINGER2; 0: net.ipv4.tcp_fin_timeout
  // SO_LINGER: -1 off, else seconds.
  int linger_s = -1;
};

// How Stack finds the connection that a timer belongs to.
struct EndpointTimer : WheelTimer {
  TcpEndpoint* endpoint = nullptr;
};

// What the peer may send before anything of it has been read.
uint32_t window_limit_bytes(const TcpOptions& options);

class TcpEndpoint {
 public:
  // Sends a SYN. `local.port` is already bound in the kernel. EADDRNOTAVAIL: the 4-tuple is in use.
  // EADDRINUSE: the port is another process's.
  static Result<TcpEndpoint*> connect(Stack& stack, const SocketAddress& local,
                                      const SocketAddress& remote, const TcpOptions& options,
                                      int fd) UP_REQUIRES(stack_mutex);
  // For a pcb that lwIP has just made from a SYN.
  static TcpEndpoint* passive(Stack& stack, tcp_pcb* pcb, TcpListener& listener)
      UP_REQUIRES(stack_mutex);

  // For a connection that the kernel has given away: with all its numbers and bytes, and its entry
  // in the flow map. EINVAL: can_adopt() says no. An error, and nothing has happened here.
  static Result<TcpEndpoint*> adopt(Stack& stack, const ConnectionSnapshot& from,
                                    const TcpOptions& options, int fd) UP_REQUIRES(stack_mutex);
  static bool can_adopt(const ConnectionState& state);
  // For so many bytes that the peer has not acknowledged.
  static bool has_room_for(int outgoing_bytes);

  // Gives up ownership: FIN after what is queued; RST where data is unread or linger is 0 (RFC
  // 2525 2.17). `kernel_socket` keeps the port reserved as long as the connection needs it; it may
  // be invalid.
  void disown(Fd kernel_socket) UP_REQUIRES(stack_mutex);
  // The same, but the owner stays: to it nothing happens any more, for good.
  void close(Fd kernel_socket) UP_REQUIRES(stack_mutex);
  void set_owner(EndpointOwner* owner, int fd) UP_REQUIRES(stack_mutex);

  // Gives the connection to the kernel: it becomes that of the kernel socket `fd`, which is closed,
  // and this object goes without telling its owner. An error, and nothing has happened: EAGAIN
  // while it is connecting, ENOTCONN when it is over, or as HostView::move_out(). ECONNABORTED: the
  // broker did not answer, the connection is over.
  Result<void> move_out(int fd, bool may_return = false) UP_REQUIRES(stack_mutex);
  // Nothing: not established yet, or over.
  std::optional<ConnectionSnapshot> snapshot() const UP_REQUIRES(stack_mutex);

  // Bytes taken, at least one unless all of `data` is empty. EAGAIN: connecting, or the send buffer
  // is full. EPIPE, or the pending error, afterwards: a call that has moved `skip_bytes` before
  // leaves that to the next one.
  Result<size_t> send(std::span<const iovec> data, size_t skip_bytes, int flags)
      UP_REQUIRES(stack_mutex);
  // 0: end of stream. EAGAIN: nothing yet. MSG_PEEK and MSG_TRUNC as in tcp(7).
  Result<size_t> receive(std::span<const iovec> data, size_t skip_bytes, int flags)
      UP_REQUIRES(stack_mutex);
  // MSG_OOB. `message_flags` gets what recvmsg(2) says there.
  Result<size_t> receive_urgent(std::span<const iovec> data, int flags, int* message_flags)
      UP_REQUIRES(stack_mutex);
  // Reading stops here for now: so many bytes on is the mark of urgent data.
  bool stops_after(size_t bytes) const { return !urgent_.none() && urgent_.is_at(bytes); }
  bool has_urgent_byte() const { return urgent_.has_byte(); }
  bool at_mark() const { return urgent_.at_mark(); }
  // ENOTCONN: not connected (any more).
  Result<void> shutdown(int how) UP_REQUIRES(stack_mutex);
  Readiness readiness() const UP_REQUIRES(stack_mutex);
  void set_options(const TcpOptions& options) UP_REQUIRES(stack_mutex);
  const TcpOptions& options() const { return options_; }

  // The hop limit of the peer's SYN, from which Linux takes that of multicast; 0: not known.
  uint8_t syn_hops() const { return syn_hops_; }
  // The pending error, once (SO_ERROR).
  int take_error() UP_REQUIRES(stack_mutex);
  int peek_error() const { return error_; }
  bool connecting() const UP_REQUIRES(stack_mutex);
  // Synchronised, and not yet closed in both directions.
  bool connected() const UP_REQUIRES(stack_mutex);
  bool gone() const { return pcb_ == nullptr; }
  bool is_shut_for_reading() const { return shut_read_; }
  size_t unread_bytes() const { return rx_bytes_; }
  // CLOCK_REALTIME when the last byte that receive() has copied came; 0: nobody knows.
  uint64_t arrived_ns() const { return arrived_ns_; }
  // SIOCINQ.
  size_t unread_to_mark() const;
  // Of the program's bytes, what the peer has not acknowledged.
  size_t unsent_bytes() const UP_REQUIRES(stack_mutex);
  // 0, and the next event says when there is some.
  size_t room_to_send() const UP_REQUIRES(stack_mutex);
  // SIOCOUTQ and SIOCOUTQNSD: not acknowledged, and never sent. A FIN counts as one.
  uint32_t unacknowledged_bytes() const UP_REQUIRES(stack_mutex);
  uint32_t not_sent_bytes() const UP_REQUIRES(stack_mutex);
  const FourTuple& flow() const { return flow_; }
  // struct tcp_info, as long as that of `kernel_socket`, whose newer fields are left as they are;
  // `length` bytes at most are written, the rest is cut.
  void info(int kernel_socket, void* out, socklen_t* length) const UP_REQUIRES(stack_mutex);
  // TCP_QUICKACK: acknowledge at once, or with what the program sends.
  void set_quick_ack(bool on) UP_REQUIRES(stack_mutex);

  uint32_t window_limit_bytes() const { return underpass::window_limit_bytes(options_); }
  // What its timestamps are ahead of our clock: those of the kernel that had it before.
  uint32_t stamp_offset_ms() const { return stamp_offset_ms_; }
  void segment_sent(uint32_t sequence, uint32_t payload_bytes) UP_REQUIRES(stack_mutex);
  uint32_t mss() const UP_REQUIRES(stack_mutex);
  SocketState state() const UP_REQUIRES(stack_mutex);

  // For TcpDemux.
  TcpEndpoint* demux_next = nullptr;

 private:
  friend class Stack;
  friend class TcpListener;
  friend struct LwipCallbacks;

  TcpEndpoint(Stack& stack, const FourTuple& flow);
  ~TcpEndpoint();
  TcpEndpoint(const TcpEndpoint&) = delete;
  TcpEndpoint& operator=(const TcpEndpoint&) = delete;

  void install_callbacks();
  bool take_over(const ConnectionSnapshot& from) UP_REQUIRES(stack_mutex);
  void ask_after_move() UP_REQUIRES(stack_mutex);
  bool put_unread(const uint8_t* bytes, size_t count);
  bool put_outgoing(const uint8_t* bytes, size_t count) UP_REQUIRES(stack_mutex);
  void apply_options() UP_REQUIRES(stack_mutex);
  void arrived(pbuf* data) UP_REQUIRES(stack_mutex);
  // Both directions are shut: what comes is answered by a reset.
  bool takes_no_more() const UP_REQUIRES(stack_mutex);
  void refuse_data() UP_REQUIRES(stack_mutex);
  void peer_finished() UP_REQUIRES(stack_mutex);
  void acknowledged() UP_REQUIRES(stack_mutex);
  void established() UP_REQUIRES(stack_mutex);
  void fail(int error) UP_REQUIRES(stack_mutex);
  void abort() UP_REQUIRES(stack_mutex);
  uint32_t acceptable_sequence() const UP_REQUIRES(stack_mutex);
  // Deletes itself, and tells nobody.
  void vanish() UP_REQUIRES(stack_mutex);
  void detach_pcb() UP_REQUIRES(stack_mutex);
  void event(Readiness events) UP_REQUIRES(stack_mutex);
  void publish() UP_REQUIRES(stack_mutex);
  void drop_unread() UP_REQUIRES(stack_mutex);
  void append_unread(std::vector<uint8_t>& bytes) const UP_REQUIRES(stack_mutex);
  uint32_t delivered_segments(uint32_t in_flight) const;
  void keep(Fd kernel_socket) UP_REQUIRES(stack_mutex);
  struct Copying {
    size_t passed_over = 0;  // unread bytes that are left out
    size_t skip_room = 0;    // where in the program's buffer it begins
    size_t limit = SIZE_MAX;
    bool consume = false;
    bool discard = false;
  };
  size_t copy_out(std::span<const iovec> data, const Copying& how) UP_REQUIRES(stack_mutex);
  void tell_window(size_t bytes) UP_REQUIRES(stack_mutex);
  // The handshake is over, and lwIP's window is the largest.
  void open_receive_window() UP_REQUIRES(stack_mutex);
  void follow_window_limit() UP_REQUIRES(stack_mutex);
  // TCP_DEFER_ACCEPT has waited long enough.
  void stop_deferring() UP_REQUIRES(stack_mutex);
  bool enough_to_read() const;
  // The urgent byte, which is no part of the stream, comes next.
  bool urgent_hole() const;
  uint8_t unread_byte(size_t index) const;
  // A segment says that the urgent byte is `ahead` of the last one that was received in order.
  void urgent_pointed(int64_t ahead) UP_REQUIRES(stack_mutex);
  size_t send_limit() const;
  size_t buffer_room() const UP_REQUIRES(stack_mutex);
  bool too_much_not_sent() const UP_REQUIRES(stack_mutex);
  size_t send_space() const UP_REQUIRES(stack_mutex);
  // The last, short segment may have to wait for company: for an acknowledgement (Nagle, in
  // Minshall's form as in Linux) or for the cork to be drawn. It is then taken off lwIP's list.
  void hold_tail(bool corked) UP_REQUIRES(stack_mutex);
  void put_back_held() UP_REQUIRES(stack_mutex);
  void send_held() UP_REQUIRES(stack_mutex);
  void send_held_if_allowed() UP_REQUIRES(stack_mutex);
  void drop_held();
  // The MSS is another one now, also for what is queued.
  void fit_segments(uint16_t mss) UP_REQUIRES(stack_mutex);
  bool short_segment_unacknowledged() const;
  size_t write(std::span<const iovec> data, size_t skip_bytes, bool more, bool* full)
      UP_REQUIRES(stack_mutex);

  Stack& stack_;
  FourTuple flow_;
  tcp_pcb* pcb_ = nullptr;
  EndpointOwner* owner_ = nullptr;
  TcpListener* listener_ = nullptr;  // while embryonic or waiting to be accepted
  TcpOptions options_;
  pbuf* rx_first_ = nullptr;
  pbuf* rx_last_ = nullptr;
  uint32_t rx_offset_ = 0;  // consumed bytes of rx_first_
  size_t rx_bytes_ = 0;
  ArrivalTimes arrivals_;  // of those bytes
  uint64_t arrived_ns_ = 0;
  UrgentMark urgent_;
  size_t window_bytes_ = 0;       // the credit of the peer: its window and what is unread
  size_t window_debt_bytes_ = 0;  // what is read gives none, until the window is as small as asked
  Traffic traffic_;
  int error_ = 0;
  bool connecting_ = false;
  bool was_connected_ = false;
  bool peer_finished_ = false;
  bool shut_read_ = false;
  bool shut_write_ = false;
  bool disowned_ = false;
  bool closed_ = false;              // nobody reads or writes any more
  mutable bool want_space_ = false;  // somebody found the send buffer full: tell when there is room
  // Bookkeeping of Stack.
  EndpointTimer timer_;
  SocketAddress held_port_{};  // in PortClaims: of an accepted connection its listener's. 0: none
  LossRecovery recovery_;
  RoundTrip round_trip_;
  size_t keepalive_index_ = SIZE_MAX;
  uint8_t syn_hops_ = 0;
  uint64_t opened_ns_ = 0;
  uint64_t rto_started_ns_ = 0;
  uint64_t rto_ns_ = 0;
  uint64_t first_timeout_ns_ = 0;
  uint64_t window_probe_due_ns_ = 0;
  uint64_t first_probe_ns_ = 0;
  uint64_t deferred_until_ns_ = 0;  // TCP_DEFER_ACCEPT: established, and not shown yet; 0: shown
  uint64_t ready_ns_ = 0;           // in its listener's queue since then
  uint64_t answered_ns_ = 0;        // the last segment that was out of place
  uint32_t timeouts_ = 0;           // in a row
  uint32_t window_probes_ = 0;
  uint32_t out_of_order_ = 0;  // segments since there was a gap
  uint8_t retransmits_before_ = 0;
  uint8_t linear_syns_ = 0;  // net.ipv4.tcp_syn_linear_timeouts
  uint8_t quick_acks_ = 8;   // until the program answers: every segment is acknowledged at once
  bool syn_was_resent_ = false;
  tcp_seg* held_ = nullptr;
  uint16_t held_oversize_ = 0;
  uint32_t stamp_offset_ms_ = 0;
  uint16_t opened_mss_ = 0;  // once the handshake is over
  uint64_t held_until_ns_ = UINT64_MAX;
  uint32_t short_end_ = 0;  // of the last short segment that was sent
  bool short_sent_ = false;
  bool exact_flow_ = false;
  bool window_opened_ = false;
  bool in_demux_ = false;
  size_t time_wait_index_ = SIZE_MAX;
  SocketRecord* record_ = nullptr;
  Fd kernel_socket_;
};

}  // namespace underpass
