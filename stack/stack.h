// stack.h - one host's TCP and UDP in user space, in front of a FramePort
//
// Frames in, frames out, timers; who owns which 4-tuple. lwIP owns TCP's state machine and sees, at
// each call, only the one connection that it is to work on (see lwip_port/lwip_window.h). All of it
// is guarded by the stack mutex; time is a parameter.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/fd.h"
#include "base/result.h"
#include "stack/clock.h"
#include "stack/demux.h"
#include "stack/destinations.h"
#include "stack/host_view.h"
#include "stack/icmp_limit.h"
#include "stack/moved_flows.h"
#include "stack/packet.h"
#include "stack/port_claims.h"
#include "stack/records.h"
#include "stack/stack_mutex.h"
#include "stack/tcp_options.h"
#include "stack/timer_wheel.h"
#include "xdp/frame_port.h"
#include "xdp/port_table.h"

struct pbuf;
struct netif;
struct tcp_pcb;

namespace underpass {

class TcpEndpoint;
class TcpListener;
class UdpEndpoint;

// Whoever sleeps without the lock until a deadline of the stack.
class DeadlineWatcher {
 public:
  virtual ~DeadlineWatcher() = default;
  // Something is due at `at_ns`, before the time that Stack::watch_deadline() was told.
  virtual void deadline_is_earlier(uint64_t at_ns) UP_REQUIRES(stack_mutex) = 0;
};

class Stack {
 public:
  struct Setup {
    FramePort& port;
    HostView& host;
    PortTable& ports;
    ClientSlot& slot;
    // One of the interface's addresses; the others work as well, each connection knows its own.
    IpAddress address;
    uint32_t prefix_bits = 24;
    // What enter() reads: calls of the program bring no time with them, and the last drive() may
    // have been long ago.
    uint64_t (*clock)() = monotonic_coarse_ns;
  };

  explicit Stack(const Setup& setup);
  ~Stack();  // nobody may own an endpoint any more
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;

  // Handles all frames that have arrived and all timers that are due at `now_ns`, then sends what
  // that produced. Returns how many frames came.
  size_t drive(uint64_t now_ns) UP_REQUIRES(stack_mutex);
  // Sends what calls since the last drive() have queued.
  void flush() UP_REQUIRES(stack_mutex);
  // When drive() must be called at the latest; UINT64_MAX: not before a frame arrives.
  uint64_t next_deadline_ns() const UP_REQUIRES(stack_mutex);
  // From now on `watcher` is told when something becomes due before `until_ns`.
  void watch_deadline(DeadlineWatcher& watcher, uint64_t until_ns) UP_REQUIRES(stack_mutex) {
    watcher_ = &watcher;
    watched_until_ns_ = until_ns;
  }
  bool readable() const { return port().readable(); }
  uint64_t last_drive_ns() const { return last_drive_ns_; }
  // As of the last drive() or enter().
  uint64_t now_ns() const { return now_ns_; }

  PortClaims& ports() { return claims_; }
  // The listener at `local` goes but connections of its stay: from now on each is steered by its
  // own flow, and the port may be another program's.
  void isolate_connections(const SocketAddress& local) UP_REQUIRES(stack_mutex);
  // An open connection to a port that other processes have, too, stays ours. Where the flow table
  // is full, the steering program's memory has to do.
  void keep_flow(TcpEndpoint& endpoint) UP_REQUIRES(stack_mutex);

  // A number for the kernel socket `fd` of a connection that is being closed, so that its port
  // stays ours. Where numbers are short, the oldest that is in TIME_WAIT is forgotten, as Linux
  // does beyond tcp_max_tw_buckets. Invalid: there is none.
  Fd keep_kernel_socket(int fd) UP_REQUIRES(stack_mutex);
  // A connection has one.
  void count_kept_socket() { ++kept_sockets_; }

  // At exit: every connection is closed, as if the program had done it. Their owners stay, since
  // other threads may be using them.
  void close_all() UP_REQUIRES(stack_mutex);
  // Before that: connections go to the kernel, which does what is left to do, and goes on when the
  // process has gone. Those that cannot stay.
  void move_all_out() UP_REQUIRES(stack_mutex);
  // One of them, with its owner if it has one.
  void move_out(TcpEndpoint& endpoint, bool may_return = false) UP_REQUIRES(stack_mutex);
  // Away, it takes no port from the kernel, and gives those of listeners and datagram sockets back;
  // what it has goes on.
  void set_away(bool away) UP_REQUIRES(stack_mutex);
  bool is_away() const UP_REQUIRES(stack_mutex) { return away_; }
  // Nothing is left of the interface, until plug_in(): no frame comes or goes. Connections that are
  // still here are reset, but for those that are being opened, which go on trying. Frames that are
  // held, and the rest of what the stack was made with, stay in use: see frames_of_before().
  void unplug() UP_REQUIRES(stack_mutex);
  // The interface is there again, with another broker's memory.
  void plug_in(const Setup& setup) UP_REQUIRES(stack_mutex);
  // Frames that are still held of ports before this one.
  size_t frames_of_before() const { return frames_of_before_; }
  // What unplug() would reset: of those that have been accepted, or opened by us, and how many have
  // not been accepted yet.
  std::vector<FourTuple> flows_at_stake() const UP_REQUIRES(stack_mutex);
  size_t unaccepted() const UP_REQUIRES(stack_mutex);
  bool has_opening() const UP_REQUIRES(stack_mutex);
  // What nobody has accepted goes to the kernel, as far as it can, and is still to be accepted
  // here.
  void move_unaccepted_out() UP_REQUIRES(stack_mutex);
  // Ports have just been claimed on which the kernel may have connections: what is nobody's here is
  // not reset for so long.
  void stay_quiet(uint64_t ns) UP_REQUIRES(stack_mutex) {
    quiet_until_ns_ = std::max(quiet_until_ns_, monotonic_ns() + ns);
  }
  // A port has just been given up that other processes have in the kernel: what is in the rings yet
  // is theirs.
  void leave_port_to_others() UP_REQUIRES(stack_mutex);
  // All connections but those that nobody has accepted yet.
  std::vector<FourTuple> movable_flows() const UP_REQUIRES(stack_mutex);
  // The flow is the kernel's, and what still comes of it is nobody's.
  void forget_moved(const FourTuple& flow) UP_REQUIRES(stack_mutex) {
    moved_flows_.add(flow, now_ns_);
  }
  void forget_moved(TcpEndpoint& endpoint) UP_REQUIRES(stack_mutex);
  // It is ours again.
  void not_moved_any_more(const FourTuple& flow) UP_REQUIRES(stack_mutex) {
    moved_flows_.remove(flow);
  }
  // Of connections that are closed; a FIN counts as one.
  uint64_t unacknowledged_bytes() const UP_REQUIRES(stack_mutex);

  // Without the lock only for readable().
  FramePort& port() const { return *port_.load(std::memory_order_relaxed); }
  HostView& host() { return *host_; }
  Destinations& destinations() { return destinations_; }
  Records& records() { return records_; }
  ClientCounters& counters() { return slot_->counters; }
  TcpDemux& tcp() { return tcp_; }
  // UDP's sockets, or those of all raw protocols.
  UdpDemux& datagrams(uint8_t protocol) { return protocol == IPPROTO_UDP ? udp_ : raw_; }
  netif* lwip_netif() { return netif_.get(); }

  // Before each entry into lwIP: its clock and its default interface are this stack's.
  void enter() UP_REQUIRES(stack_mutex);
  // After each: does the connection need ticks, is it in TIME_WAIT, has lwIP freed its pcb, what
  // does `ss` show. Deletes an endpoint that has neither pcb nor owner: it must not be used
  // afterwards.
  void settle(TcpEndpoint& endpoint) UP_REQUIRES(stack_mutex);

  // Listeners look whether others have more time for what nobody has accepted, at that time.
  void tend_listeners_at(uint64_t at_ns) UP_REQUIRES(stack_mutex);
  // The process ends: what nobody has accepted goes to the others that have the listener.
  void leave_listeners() UP_REQUIRES(stack_mutex);
  bool has_leaving_listeners() const UP_REQUIRES(stack_mutex);

  // The connection's keepalive times are others now.
  void keepalive_changed(const TcpEndpoint& endpoint) UP_REQUIRES(stack_mutex);

  // Sends one UDP datagram. A `ttl` of 0 is the route's hop limit. EMSGSIZE: longer than the MTU.
  // EAGAIN: no chunk free. EHOSTUNREACH and the like: no next hop now, the caller lets the kernel
  // send it.
  Result<void> send_udp(const SocketAddress& local, const SocketAddress& remote, uint8_t ttl,
                        uint8_t tos, std::span<const struct iovec> data, size_t bytes)
      UP_REQUIRES(stack_mutex);

  // Sends one IP packet of a raw socket, whose protocol is `local.port`. `data` begins with the IP
  // header if `has_header` (IP_HDRINCL, raw(7)): EINVAL where that is none. IPv6's is sent as it is
  // (rawv6_send_hdrinc()). Other errors likewise.
  struct RawPacket {
    SocketAddress local;
    IpAddress remote;
    uint8_t ttl;
    uint8_t tos;
    bool has_header;
  };
  Result<void> send_raw(const RawPacket& packet, std::span<const struct iovec> data, size_t bytes)
      UP_REQUIRES(stack_mutex);

  // lwIP's IP output ends here.
  int output_ip(pbuf* packet, const IpAddress& destination) UP_REQUIRES(stack_mutex);
  // From a pbuf's destructor.
  void return_frame(const FramePort* from, uint64_t id);

 private:
  struct Aggregate;
  struct FramePbuf;
  friend struct FramePbufAccess;

  void use_slot(ClientSlot& slot) UP_REQUIRES(stack_mutex);
  static bool is_at_stake(const TcpEndpoint& endpoint) UP_REQUIRES(stack_mutex);
  void input_frame(const RxFrame& frame) UP_REQUIRES(stack_mutex);
  void input_tcp(const RxFrame& frame, const Packet& packet) UP_REQUIRES(stack_mutex);
  void input_udp(const RxFrame& frame, const Packet& packet) UP_REQUIRES(stack_mutex);
  void input_raw(const RxFrame& frame, const Packet& packet) UP_REQUIRES(stack_mutex);
  void send_port_unreachable(const Packet& packet) UP_REQUIRES(stack_mutex);
  void deliver_datagram(UdpEndpoint& endpoint, pbuf* data, uint32_t bytes,
                        const SocketAddress& from, const Packet& packet) UP_REQUIRES(stack_mutex);
  bool append(const RxFrame& frame, const Packet& packet) UP_REQUIRES(stack_mutex);
  void deliver_aggregate() UP_REQUIRES(stack_mutex);
  void deliver(TcpEndpoint* endpoint, pbuf* segment, const Packet& packet) UP_REQUIRES(stack_mutex);
  void deliver_to_listener(pbuf* segment, const Packet& packet) UP_REQUIRES(stack_mutex);
  void after_input(TcpEndpoint& endpoint, const SegmentOptions& options, uint32_t payload,
                   bool joined) UP_REQUIRES(stack_mutex);
  void note_urgent(TcpEndpoint& endpoint, const Packet& packet, uint32_t payload)
      UP_REQUIRES(stack_mutex);
  void limit_out_of_order(TcpEndpoint& endpoint) UP_REQUIRES(stack_mutex);
  static bool is_absurd(const tcp_pcb& pcb, const Packet& packet, uint32_t payload);
  bool is_echo(TcpEndpoint& endpoint, const Packet& packet, uint32_t payload)
      UP_REQUIRES(stack_mutex);
  // Whether the packet begins a new connection of the name of one in TIME_WAIT, and whose it is.
  enum class NewLife : uint8_t { kNone, kHere, kElsewhere };
  NewLife new_life_of(const TcpEndpoint& endpoint, const Packet& packet) const
      UP_REQUIRES(stack_mutex);
  void begin_new_life(TcpEndpoint& endpoint, pbuf* segment, const Packet& packet)
      UP_REQUIRES(stack_mutex);
  bool has_just_left(const SocketAddress& local) const UP_REQUIRES(stack_mutex) {
    return now_ns_ < left_until_ns_ && !claims_.has_port(IPPROTO_TCP, local);
  }
  static bool is_outdated(const tcp_pcb& pcb, const Packet& packet, const SegmentOptions& options);
  // A pbuf over `bytes` at `data` inside `frame`, or a copy of them where too many frames are held.
  pbuf* wrap(const RxFrame& frame, uint8_t* data, uint32_t bytes) UP_REQUIRES(stack_mutex);
  void release_returned() UP_REQUIRES(stack_mutex);

  void follow_mtu() UP_REQUIRES(stack_mutex);
  void lower_mtu(TcpEndpoint& endpoint, uint32_t mtu_bytes) UP_REQUIRES(stack_mutex);
  // The most that fits into a segment of that connection; at least what Linux sends.
  static uint16_t mss_for(const TcpEndpoint& endpoint, uint32_t mtu_bytes);
  void run_timers() UP_REQUIRES(stack_mutex);
  void due_at(uint64_t at_ns) UP_REQUIRES(stack_mutex) {
    if (at_ns < watched_until_ns_) watcher_->deadline_is_earlier(at_ns);
  }
  void run_due(uint64_t tick) UP_REQUIRES(stack_mutex);
  void prepare_tick(TcpEndpoint& endpoint) UP_REQUIRES(stack_mutex);
  uint64_t user_timeout_at_ns(const TcpEndpoint& endpoint) const UP_REQUIRES(stack_mutex);
  static uint64_t fin_wait2_ns(const TcpEndpoint& endpoint);
  void end_fin_wait2(TcpEndpoint& endpoint) UP_REQUIRES(stack_mutex);
  void prepare_window_probe(TcpEndpoint& endpoint) UP_REQUIRES(stack_mutex);
  void prepare_retransmission(TcpEndpoint& endpoint) UP_REQUIRES(stack_mutex);
  bool gives_up_connecting(TcpEndpoint& endpoint) UP_REQUIRES(stack_mutex);
  void note_timeout(TcpEndpoint& endpoint) UP_REQUIRES(stack_mutex);
  static void set_rto(TcpEndpoint& endpoint, uint64_t ns);
  uint64_t due_tick(const TcpEndpoint& endpoint) const UP_REQUIRES(stack_mutex);
  uint64_t idle_ns(const tcp_pcb& pcb) const;
  uint64_t idle_for_tick(const tcp_pcb& pcb, uint64_t limit_ns) const;
  bool forget_kept_time_wait() UP_REQUIRES(stack_mutex);
  void expire_time_wait() UP_REQUIRES(stack_mutex);
  void check_keepalives() UP_REQUIRES(stack_mutex);
  uint64_t keepalive(TcpEndpoint& endpoint) UP_REQUIRES(stack_mutex);
  void check_neighbours() UP_REQUIRES(stack_mutex);
  void check_unreachable() UP_REQUIRES(stack_mutex);
  void tend_listeners() UP_REQUIRES(stack_mutex);
  void take_handed_over() UP_REQUIRES(stack_mutex);
  void tune(TcpEndpoint& endpoint) UP_REQUIRES(stack_mutex);
  void open_window(TcpEndpoint& endpoint) UP_REQUIRES(stack_mutex);
  void update_keepalive(TcpEndpoint& endpoint) UP_REQUIRES(stack_mutex);
  void enter_time_wait(TcpEndpoint& endpoint) UP_REQUIRES(stack_mutex);
  void forget_flow(TcpEndpoint& endpoint) UP_REQUIRES(stack_mutex);
  void let_go(TcpEndpoint& endpoint) UP_REQUIRES(stack_mutex);
  uint8_t* write_ethernet(const MacAddress& destination, const IpAddress& to);
  // A chunk with its Ethernet header, reserved until it is submitted. Errors as send_udp()'s.
  struct Outgoing {
    uint8_t* ip;
    IpAddress source;
    uint8_t hop_limit;
  };
  Result<Outgoing> begin_packet(const IpAddress& local, const IpAddress& remote, size_t ip_bytes)
      UP_REQUIRES(stack_mutex);
  static void copy_in(uint8_t* at, std::span<const struct iovec> data);

  std::atomic<FramePort*> port_;
  HostView* host_;
  PortTable* port_table_;
  PortClaims claims_;
  ClientSlot* slot_;
  uint64_t (*const clock_)();
  std::unique_ptr<netif> netif_;
  Destinations destinations_;
  Records records_;
  TcpDemux tcp_;
  UdpDemux udp_;
  UdpDemux raw_;
  IcmpLimit icmp_limit_;
  uint64_t now_ns_ = 0;
  uint64_t last_drive_ns_ = 0;
  TimerWheel timers_;  // in ticks of TCP_FAST_INTERVAL
  DeadlineWatcher* watcher_ = nullptr;
  uint64_t watched_until_ns_ = 0;
  bool away_ = false;
  uint64_t left_until_ns_ = 0;   // SYNs for a listener that others have are theirs
  uint64_t quiet_until_ns_ = 0;  // ports have just been claimed: what nobody has is the kernel's
  MovedFlows moved_flows_;
  std::vector<TcpEndpoint*> keepalive_;
  uint64_t keepalive_due_ns_ = UINT64_MAX;
  uint64_t listeners_due_ns_ = UINT64_MAX;
  // TIME_WAIT in order of expiry; entries whose endpoint has gone are null.
  struct TimeWait {
    uint64_t expires_ns;
    TcpEndpoint* endpoint;
  };
  std::vector<TimeWait> time_wait_;
  size_t time_wait_first_ = 0;
  size_t time_wait_count_ = 0;
  size_t kept_room_ = 0;     // how many there may be, at the last look
  size_t kept_sockets_ = 0;  // of connections that their owner has closed
  uint64_t neighbours_seen_ = 0;
  std::unique_ptr<Aggregate> aggregate_;
  // Frames that pbufs stand over, and those whose pbuf is gone.
  size_t held_frames_ = 0;
  size_t frames_of_before_ = 0;
  std::unique_ptr<FramePort> unplugged_;
  std::unique_ptr<ClientSlot> own_slot_;
  std::vector<uint64_t> returned_;
  std::vector<FramePbuf*> free_pbufs_;
  uint16_t ip_id_ = 0;
  size_t unflushed_frames_ = 0;
};

}  // namespace underpass
