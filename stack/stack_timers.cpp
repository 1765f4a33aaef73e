// stack_timers.cpp - when lwIP's timers run, and where they must not do what lwIP would
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "stack/lwip_port/lwip_window.h"
#include "stack/stack.h"
#include "stack/tcp_endpoint.h"
#include "stack/tcp_listener.h"

namespace underpass {

namespace {

constexpr uint64_t kFastTickNs = uint64_t{TCP_FAST_INTERVAL} * kNsPerMs;
constexpr uint64_t kSlowTickNs = uint64_t{TCP_SLOW_INTERVAL} * kNsPerMs;
constexpr uint64_t kInitialRtoNs = uint64_t{LWIP_TCP_RTO_TIME} * kNsPerMs;
constexpr uint64_t kMaxRtoNs = 120 * kNsPerS;             // TCP_RTO_MAX of Linux
constexpr uint64_t kGiveUpNs = 924'600 * kNsPerMs;        // net.ipv4.tcp_retries2 = 15
constexpr uint64_t kOrphanGiveUpNs = 102'200 * kNsPerMs;  // net.ipv4.tcp_orphan_retries: 8
constexpr u16_t kMinMss = 48;                             // net.ipv4.tcp_min_snd_mss
constexpr uint32_t kInitialWindowSegments = 10;           // RFC 6928
constexpr uint64_t kTimeWaitNs = 60 * kNsPerS;            // TCP_TIMEWAIT_LEN of Linux
constexpr size_t kMaxTimeWait = 16384;

uint64_t tick_at(uint64_t ns) { return (ns + kFastTickNs - 1) / kFastTickNs; }

uint64_t base_rto_ns(const RoundTrip& round_trip) {
  return round_trip.measured() ? std::min(round_trip.timeout_ns(), kMaxRtoNs) : kInitialRtoNs;
}

// inet_csk_rto_backoff() in include/net/inet_connection_sock.h.
uint64_t backed_off_ns(uint64_t base_ns, uint32_t times) {
  constexpr uint32_t kEnough = 16;
  return std::min(base_ns << std::min(times, kEnough), kMaxRtoNs);
}

// RFC 8985 7.2. Rounded up to lwIP's ticks; a single segment's ACK may be delayed.
uint64_t tail_probe_ns(const tcp_pcb& pcb, const RoundTrip& round_trip) {
  constexpr uint64_t kDelayedAckNs = 40 * kNsPerMs;
  if (!round_trip.measured()) return kInitialRtoNs;
  const uint64_t rounded_ns = (round_trip.smoothed_ns() / kSlowTickNs + 1) * kSlowTickNs;
  return 2 * rounded_ns + (pcb.unacked->next == nullptr ? kDelayedAckNs : 0);
}

}  // namespace

uint64_t Stack::next_deadline_ns() const {
  uint64_t next = std::min(keepalive_due_ns_, listeners_due_ns_);
  const uint64_t tick = timers_.next_tick();
  if (tick != WheelTimer::kNever) next = std::min(next, tick * kFastTickNs);
  if (time_wait_first_ < time_wait_.size()) {
    next = std::min(next, time_wait_[time_wait_first_].expires_ns);
  }
  return next;
}

// Routes and what is said to peers keep the MSS of the handshake; what is sent fits the interface.
// lwIP reads the MTU when a connection is opened. A larger one than then is not made use of.
void Stack::follow_mtu() {
  const auto mtu = static_cast<u16_t>(port().capabilities().mtu_bytes);
  if (mtu == netif_->mtu) return;
  enter();
  netif_->mtu = mtu;
  for (TcpEndpoint* endpoint : tcp_.all()) {
    if (endpoint->pcb_ == nullptr) continue;
    const u16_t fits = mss_for(*endpoint, mtu);
    const u16_t most = endpoint->window_opened_ ? endpoint->opened_mss_ : endpoint->pcb_->mss;
    endpoint->fit_segments(std::min(most, fits));
    settle(*endpoint);
  }
}

u16_t Stack::mss_for(const TcpEndpoint& endpoint, uint32_t mtu_bytes) {
  const uint32_t headers = ip_header_bytes(endpoint.flow_.remote.ip) + kTcpHeaderBytes;
  return static_cast<u16_t>(std::max<uint32_t>(mtu_bytes, headers + kMinMss) - headers);
}

void Stack::run_timers() {
  follow_mtu();
  check_neighbours();
  check_unreachable();
  const uint64_t tick = now_ns_ / kFastTickNs;
  if (timers_.next_tick() <= tick) run_due(tick);
  if (time_wait_first_ < time_wait_.size()) expire_time_wait();
  if (now_ns_ >= keepalive_due_ns_) check_keepalives();
  if (now_ns_ >= listeners_due_ns_) tend_listeners();
  take_handed_over();
}

void Stack::tend_listeners_at(uint64_t at_ns) {
  if (at_ns >= listeners_due_ns_) return;
  listeners_due_ns_ = at_ns;
  due_at(at_ns);
}

// What is handed over meanwhile sets the time anew.
void Stack::tend_listeners() {
  listeners_due_ns_ = UINT64_MAX;
  uint64_t next = UINT64_MAX;
  for (TcpListener* listener : tcp_.all_listeners()) {
    next = std::min(next, listener->tend(now_ns_));
  }
  if (next != UINT64_MAX) tend_listeners_at(std::max(next, now_ns_ + 1));
}

void Stack::take_handed_over() {
  while (auto brought = host_->next_handed_over()) {
    TcpListener* const listener = tcp_.find_listener_of(brought->listener);
    if (listener != nullptr) {
      listener->bring(std::move(brought->socket));
    } else {
      static_cast<void>(host_->hand_over(brought->listener, brought->socket.get()).ok());
    }
  }
}

void Stack::leave_listeners() {
  for (TcpListener* listener : tcp_.all_listeners()) {
    if (!listener->is_leaving() && listener->owner_->endpoint_is_shared()) {
      listener->leave_to_others();
    }
  }
}

bool Stack::has_leaving_listeners() const {
  const std::vector<TcpListener*> all = tcp_.all_listeners();
  return std::any_of(all.begin(), all.end(),
                     [](const TcpListener* listener) { return listener->is_leaving(); });
}

// lwIP counts ticks; here they come only when something is due, so its counters are set to what
// they would be.
void Stack::run_due(uint64_t tick) {
  enter();
  std::vector<TcpEndpoint*> due;
  timers_.advance(
      tick, [&](WheelTimer& timer) { due.push_back(static_cast<EndpointTimer&>(timer).endpoint); });
  for (TcpEndpoint* endpoint : due) prepare_tick(*endpoint);
  tcp_tw_pcbs = nullptr;
  tcp_active_pcbs = nullptr;
  for (TcpEndpoint* endpoint : due) {
    if (endpoint->pcb_ == nullptr || endpoint->pcb_->state == TIME_WAIT) continue;
    endpoint->pcb_->next = tcp_active_pcbs;
    tcp_active_pcbs = endpoint->pcb_;
  }
  tcp_fasttmr();
  // tcp_slowtmr() counts the tick itself.
  --tcp_ticks;
  tcp_slowtmr();
  tcp_active_pcbs = nullptr;
  for (TcpEndpoint* endpoint : due) {
    note_timeout(*endpoint);
    settle(*endpoint);
  }
}

void Stack::prepare_tick(TcpEndpoint& endpoint) {
  if (endpoint.pcb_ == nullptr || endpoint.pcb_->state == TIME_WAIT) return;
  tcp_pcb& pcb = *endpoint.pcb_;
  PcbWindow window(&pcb);
  if (now_ns_ >= endpoint.held_until_ns_) {
    endpoint.send_held();
    tune(endpoint);
  }
  if (endpoint.deferred_until_ns_ != 0 && now_ns_ >= endpoint.deferred_until_ns_) {
    endpoint.stop_deferring();
  }
  end_fin_wait2(endpoint);
  if (now_ns_ >= user_timeout_at_ns(endpoint)) {
    pcb.nrtx = TCP_MAXRTX;
  } else if (pcb.persist_backoff != 0) {
    prepare_window_probe(endpoint);
  } else if (pcb.rtime >= 0) {
    prepare_retransmission(endpoint);
  }
  endpoint.retransmits_before_ = pcb.nrtx;
}

// TCP_LINGER2 (tcp(7)): how long a connection without an owner waits for the peer's end. lwIP has
// one time for all.
uint64_t Stack::fin_wait2_ns(const TcpEndpoint& endpoint) {
  constexpr uint64_t kLongestNs = uint64_t{TCP_FIN_WAIT_TIMEOUT} * kNsPerMs;
  const int linger_s = endpoint.options_.linger2_s;
  if (linger_s == 0) return kLongestNs;
  return linger_s < 0 ? 0 : std::min(static_cast<uint64_t>(linger_s) * kNsPerS, kLongestNs);
}

void Stack::end_fin_wait2(TcpEndpoint& endpoint) {
  tcp_pcb& pcb = *endpoint.pcb_;
  const bool orphan = pcb.state == FIN_WAIT_2 && (pcb.flags & TF_RXCLOSED) != 0;
  if (!orphan || endpoint.options_.linger2_s == 0 || idle_ns(pcb) < fin_wait2_ns(endpoint)) return;
  // As if lwIP's own time had passed.
  pcb.tmr = tcp_ticks - TCP_FIN_WAIT_TIMEOUT / TCP_SLOW_INTERVAL - 2;
}

// TCP_USER_TIMEOUT (tcp(7)): counted from the first retransmission or window probe that had no
// success, or from the first SYN, as retransmits_timed_out() and tcp_probe_timer() do. Whoever has
// not been accepted is not asked.
uint64_t Stack::user_timeout_at_ns(const TcpEndpoint& endpoint) const {
  const uint64_t timeout_ns = uint64_t{endpoint.options_.user_timeout_ms} * kNsPerMs;
  if (timeout_ns == 0) return UINT64_MAX;
  // The first probe is number one, and is being waited for.
  if (endpoint.pcb_->persist_backoff != 0) {
    return endpoint.window_probes_ > 1 ? endpoint.first_probe_ns_ + timeout_ns : UINT64_MAX;
  }
  if (endpoint.timeouts_ == 0 || endpoint.pcb_->state == SYN_RCVD) return UINT64_MAX;
  const bool connecting = endpoint.pcb_->state == SYN_SENT;
  return (connecting ? endpoint.opened_ns_ : endpoint.first_timeout_ns_) + timeout_ns;
}

void Stack::prepare_window_probe(TcpEndpoint& endpoint) {
  tcp_pcb& pcb = *endpoint.pcb_;
  // Below every entry of lwIP's table, or above all of them.
  pcb.persist_cnt = 0;
  if (now_ns_ < endpoint.window_probe_due_ns_) return;
  pcb.persist_cnt = UINT8_MAX;
  if (endpoint.window_probes_ == 1) endpoint.first_probe_ns_ = now_ns_;
  // tcp_probe0_base() and tcp_probe0_when().
  endpoint.window_probe_due_ns_ =
      now_ns_ + backed_off_ns(base_rto_ns(endpoint.round_trip_), endpoint.window_probes_++);
}

void Stack::prepare_retransmission(TcpEndpoint& endpoint) {
  tcp_pcb& pcb = *endpoint.pcb_;
  const uint64_t running_ns = now_ns_ - std::min(now_ns_, endpoint.rto_started_ns_);
  const bool timed_out = running_ns >= endpoint.rto_ns_;
  // Below what tcp_slowtmr() compares it with, or there.
  pcb.rtime = timed_out ? pcb.rto : s16_t{1};
  if (timed_out) {
    // lwIP gives up by the count, and right after the last attempt.
    const uint64_t limit_ns = endpoint.disowned_ ? kOrphanGiveUpNs : kGiveUpNs;
    if (pcb.state == SYN_SENT) {
      pcb.nrtx = gives_up_connecting(endpoint) ? u8_t{TCP_SYNMAXRTX}
                                               : std::min<u8_t>(pcb.nrtx, TCP_SYNMAXRTX - 1);
    } else if (pcb.state == SYN_RCVD) {
      if (endpoint.timeouts_ >= endpoint.options_.synack_retries) pcb.nrtx = TCP_MAXRTX;
    } else if (pcb.nrtx != 0 && now_ns_ - endpoint.first_timeout_ns_ >= limit_ns) {
      pcb.nrtx = TCP_MAXRTX;
    }
  } else if (endpoint.recovery_.may_probe(pcb) &&
             running_ns >= tail_probe_ns(pcb, endpoint.round_trip_)) {
    counters().tcp_retransmits.fetch_add(1, std::memory_order_relaxed);
    endpoint.recovery_.probe_tail(pcb);
    endpoint.round_trip_.sent_again();
    endpoint.rto_started_ns_ = now_ns_;  // RFC 8985 7.3
  }
}

// tcp_write_timeout() in net/ipv4/tcp_timer.c. The first SYNs may come again once a second (since
// Linux 6.5) and do not count; but no connect lasts longer than the others would take by doubling.
bool Stack::gives_up_connecting(TcpEndpoint& endpoint) {
  if (endpoint.timeouts_ == 0) {
    endpoint.linear_syns_ = host_->setting("tcp_syn_linear_timeouts").value_or(0);
    return false;
  }
  const uint32_t retries = endpoint.options_.syn_retries;
  if (endpoint.timeouts_ >= retries + endpoint.linear_syns_) return true;
  if (endpoint.options_.user_timeout_ms != 0) return false;
  uint64_t limit_ns = 0;
  for (uint32_t i = 0; i <= retries; ++i) limit_ns += backed_off_ns(kInitialRtoNs, i);
  return now_ns_ - endpoint.opened_ns_ >= limit_ns;
}

void Stack::note_timeout(TcpEndpoint& endpoint) {
  tcp_pcb* pcb = endpoint.pcb_;
  if (pcb == nullptr || pcb->nrtx <= endpoint.retransmits_before_) return;
  counters().tcp_retransmits.fetch_add(1, std::memory_order_relaxed);
  endpoint.recovery_.timed_out();
  if (pcb->state < ESTABLISHED) endpoint.syn_was_resent_ = true;
  if (endpoint.timeouts_++ == 0) endpoint.first_timeout_ns_ = now_ns_;
  const uint32_t linear = pcb->state == SYN_SENT ? endpoint.linear_syns_ : 0;
  const uint32_t doublings = endpoint.timeouts_ - std::min(endpoint.timeouts_, linear);
  set_rto(endpoint, backed_off_ns(base_rto_ns(endpoint.round_trip_), doublings));
}

void Stack::set_rto(TcpEndpoint& endpoint, uint64_t ns) {
  endpoint.rto_ns_ = ns;
  // lwIP's is what we let it believe, but it multiplies it to know how long to keep what came out
  // of order.
  endpoint.pcb_->rto = static_cast<s16_t>(ns / kSlowTickNs);
}

void Stack::settle(TcpEndpoint& endpoint) {
  if (endpoint.pcb_ != nullptr) {
    endpoint.round_trip_.follow(*endpoint.pcb_, now_ns_);
    endpoint.traffic_.follow(*endpoint.pcb_, endpoint.round_trip_.smoothed_ns(), now_ns_);
    tune(endpoint);
    if (endpoint.pcb_->state == TIME_WAIT && endpoint.time_wait_index_ == SIZE_MAX) {
      enter_time_wait(endpoint);
    }
  }
  const uint64_t tick = due_tick(endpoint);
  timers_.schedule(endpoint.timer_, tick);
  if (tick != WheelTimer::kNever) due_at(tick * kFastTickNs);
  if (endpoint.options_.keep_alive || endpoint.keepalive_index_ != SIZE_MAX) {
    update_keepalive(endpoint);
  }
  endpoint.publish();
  if (endpoint.pcb_ == nullptr) let_go(endpoint);
}

// lwIP's defaults are not Linux's: smallest RTO, initial window, when to give up.
void Stack::tune(TcpEndpoint& endpoint) {
  tcp_pcb& pcb = *endpoint.pcb_;
  if (pcb.nrtx == 0) {
    endpoint.timeouts_ = 0;
    set_rto(endpoint, base_rto_ns(endpoint.round_trip_));
  } else {
    pcb.nrtx = std::min<u8_t>(pcb.nrtx, TCP_MAXRTX - 1);
  }
  // lwIP cuts segments at half of it, and miscounts when options take all of that.
  pcb.snd_wnd_max = std::max<tcpwnd_size_t>(pcb.snd_wnd_max, 2 * kMinMss);
  // lwIP sets it to zero whenever it starts the timer.
  if (pcb.rtime == 0) {
    pcb.rtime = 1;
    endpoint.rto_started_ns_ = now_ns_;
  }
  if (pcb.persist_backoff == 0) {
    endpoint.window_probes_ = 0;
  } else if (pcb.unsent == nullptr || pcb.unacked != nullptr || pcb.snd_wnd >= pcb.unsent->len) {
    // lwIP forgets to stop it when an ACK takes all that there was, and asserts later.
    pcb.persist_backoff = 0;
  } else if (endpoint.window_probes_ == 0) {
    endpoint.window_probes_ = 1;
    endpoint.window_probe_due_ns_ = now_ns_ + base_rto_ns(endpoint.round_trip_);
  }
  if (!endpoint.window_opened_ && pcb.state >= ESTABLISHED) open_window(endpoint);
}

// The handshake is over: the first window, and the first round trip (RFC 6298 2.2).
void Stack::open_window(TcpEndpoint& endpoint) {
  tcp_pcb& pcb = *endpoint.pcb_;
  endpoint.window_opened_ = true;
  pcb.mss = std::max(pcb.mss, kMinMss);
  endpoint.opened_mss_ = pcb.mss;
  pcb.cwnd = kInitialWindowSegments * pcb.mss;
  // Karn: a handshake that was sent again says nothing.
  if (endpoint.syn_was_resent_) return;
  endpoint.round_trip_.sample(now_ns_ - endpoint.opened_ns_, now_ns_);
  set_rto(endpoint, base_rto_ns(endpoint.round_trip_));
}

// The tick at which prepare_tick() and lwIP's timers have something to do.
uint64_t Stack::due_tick(const TcpEndpoint& endpoint) const {
  const tcp_pcb* pcb = endpoint.pcb_;
  if (pcb == nullptr || pcb->state == TIME_WAIT || pcb->state == CLOSED) return WheelTimer::kNever;
  const uint64_t next = now_ns_ / kFastTickNs + 1;
  if ((pcb->flags & (TF_ACK_DELAY | TF_CLOSEPEND | TF_NAGLEMEMERR)) != 0) return next;
  uint64_t due = WheelTimer::kNever;
  if (pcb->persist_backoff != 0) {
    due = tick_at(endpoint.window_probe_due_ns_);
  } else if (pcb->rtime >= 0) {
    uint64_t wait_ns = endpoint.rto_ns_;
    if (endpoint.recovery_.may_probe(*pcb)) {
      wait_ns = std::min(wait_ns, tail_probe_ns(*pcb, endpoint.round_trip_));
    }
    due = tick_at(endpoint.rto_started_ns_ + wait_ns);
  } else if (pcb->unsent != nullptr) {
    return next;
  }
  const uint64_t user_timeout = user_timeout_at_ns(endpoint);
  if (user_timeout != UINT64_MAX) due = std::min(due, tick_at(user_timeout));
  if (endpoint.held_ != nullptr && endpoint.held_until_ns_ != UINT64_MAX) {
    due = std::min(due, tick_at(endpoint.held_until_ns_));
  }
  if (endpoint.deferred_until_ns_ != 0) {
    due = std::min(due, tick_at(endpoint.deferred_until_ns_));
  }
  if (pcb->ooseq != nullptr) {
    due = std::min(due, idle_for_tick(*pcb, endpoint.rto_ns_ * TCP_OOSEQ_TIMEOUT));
  }
  switch (pcb->state) {
    case LAST_ACK:
      return std::min(due, idle_for_tick(*pcb, 2 * uint64_t{TCP_MSL} * kNsPerMs));
    case FIN_WAIT_2:
      if ((pcb->flags & TF_RXCLOSED) == 0) return due;
      return std::min(due, idle_for_tick(*pcb, fin_wait2_ns(endpoint)));
    default:
      return due;
  }
}

uint64_t Stack::idle_ns(const tcp_pcb& pcb) const {
  return uint64_t{static_cast<u32_t>(now_ns_ / kSlowTickNs) - pcb.tmr} * kSlowTickNs;
}

// When nothing will have come from the peer for `limit_ns`; lwIP compares with "more than".
uint64_t Stack::idle_for_tick(const tcp_pcb& pcb, uint64_t limit_ns) const {
  const uint64_t idle = idle_ns(pcb);
  return tick_at(now_ns_ + limit_ns - std::min(idle, limit_ns) + 2 * kSlowTickNs);
}

// ---- keepalive

void Stack::update_keepalive(TcpEndpoint& endpoint) {
  const tcp_pcb* pcb = endpoint.pcb_;
  const bool wants = pcb != nullptr && endpoint.options_.keep_alive &&
                     (pcb->state == ESTABLISHED || pcb->state == CLOSE_WAIT);
  if (wants == (endpoint.keepalive_index_ != SIZE_MAX)) return;
  if (wants) {
    endpoint.keepalive_index_ = keepalive_.size();
    keepalive_.push_back(&endpoint);
    keepalive_changed(endpoint);
    return;
  }
  keepalive_[endpoint.keepalive_index_] = keepalive_.back();
  keepalive_[endpoint.keepalive_index_]->keepalive_index_ = endpoint.keepalive_index_;
  keepalive_.pop_back();
  endpoint.keepalive_index_ = SIZE_MAX;
  if (keepalive_.empty()) keepalive_due_ns_ = UINT64_MAX;
}

void Stack::keepalive_changed(const TcpEndpoint& endpoint) {
  if (endpoint.keepalive_index_ == SIZE_MAX) return;
  keepalive_due_ns_ =
      std::min(keepalive_due_ns_, now_ns_ + uint64_t{endpoint.options_.keep_idle_ms} * kNsPerMs);
  due_at(keepalive_due_ns_);
}

// Idle connections get no ticks; they are looked at when the earliest could be due.
void Stack::check_keepalives() {
  enter();
  keepalive_due_ns_ = UINT64_MAX;
  const std::vector<TcpEndpoint*> all = keepalive_;
  for (TcpEndpoint* endpoint : all) {
    keepalive_due_ns_ = std::min(keepalive_due_ns_, now_ns_ + keepalive(*endpoint));
    settle(*endpoint);
  }
}

// tcp_keepalive_timer() in net/ipv4/tcp_timer.c. Returns when to look again.
uint64_t Stack::keepalive(TcpEndpoint& endpoint) {
  tcp_pcb& pcb = *endpoint.pcb_;
  const uint64_t first_ns = uint64_t{endpoint.options_.keep_idle_ms} * kNsPerMs;
  const uint64_t interval_ns = uint64_t{endpoint.options_.keep_interval_ms} * kNsPerMs;
  // What is in flight is a question already.
  if (pcb.unacked != nullptr || pcb.unsent != nullptr) return first_ns;
  const uint64_t due_ns = first_ns + interval_ns * pcb.keep_cnt_sent;
  const uint64_t idle = idle_ns(pcb) + kSlowTickNs;
  if (idle < due_ns) return due_ns - idle;
  const uint64_t user_timeout_ns = uint64_t{endpoint.options_.user_timeout_ms} * kNsPerMs;
  const bool given_up = user_timeout_ns != 0 ? pcb.keep_cnt_sent != 0 && idle >= user_timeout_ns
                                             : pcb.keep_cnt_sent >= endpoint.options_.keep_count;
  if (given_up) {
    endpoint.abort();
    endpoint.fail(ETIMEDOUT);
    return interval_ns;
  }
  PcbWindow window(&pcb);
  tcp_keepalive(&pcb);
  ++pcb.keep_cnt_sent;
  return interval_ns;
}

// ---- the end of a connection

void Stack::enter_time_wait(TcpEndpoint& endpoint) {
  endpoint.time_wait_index_ = time_wait_.size();
  time_wait_.push_back({now_ns_ + kTimeWaitNs, &endpoint});
  ++time_wait_count_;
  if (time_wait_count_ > kMaxTimeWait) time_wait_[time_wait_first_].expires_ns = now_ns_;
  // Little comes for it, and the steering program's memory will do. A new connection of that name
  // may be another process's.
  if (port_table_->others(IPPROTO_TCP, endpoint.flow_.local).members != 0) forget_flow(endpoint);
  due_at(time_wait_[time_wait_first_].expires_ns);
}

void Stack::forget_flow(TcpEndpoint& endpoint) {
  if (!endpoint.exact_flow_) return;
  port_table_->remove_flow({IPPROTO_TCP, endpoint.flow_.local, endpoint.flow_.remote});
  endpoint.exact_flow_ = false;
}

Fd Stack::keep_kernel_socket(int fd) {
  // Some numbers are for what else there is: event descriptors, and sockets closed during a call.
  if (kept_sockets_ >= kept_room_) kept_room_ = private_fd_room() / 4 * 3;
  if (kept_sockets_ >= kept_room_) forget_kept_time_wait();
  Fd kept = private_duplicate(fd);
  while (!kept && forget_kept_time_wait()) kept = private_duplicate(fd);
  return kept;
}

bool Stack::forget_kept_time_wait() {
  for (size_t i = time_wait_first_; i < time_wait_.size(); ++i) {
    TcpEndpoint* const endpoint = time_wait_[i].endpoint;
    if (endpoint == nullptr || !endpoint->kernel_socket_) continue;
    endpoint->abort();
    settle(*endpoint);
    return true;
  }
  return false;
}

void Stack::expire_time_wait() {
  while (time_wait_first_ < time_wait_.size()) {
    const TimeWait& first = time_wait_[time_wait_first_];
    if (first.endpoint != nullptr) {
      if (first.expires_ns > now_ns_) break;
      TcpEndpoint& endpoint = *first.endpoint;
      endpoint.abort();
      settle(endpoint);
    }
    ++time_wait_first_;
  }
  // The consumed front is cut off now and then, and the indices follow.
  if (time_wait_first_ * 2 > time_wait_.size()) {
    time_wait_.erase(time_wait_.begin(),
                     time_wait_.begin() + static_cast<ptrdiff_t>(time_wait_first_));
    time_wait_first_ = 0;
    for (size_t i = 0; i < time_wait_.size(); ++i) {
      if (time_wait_[i].endpoint != nullptr) time_wait_[i].endpoint->time_wait_index_ = i;
    }
  }
}

// The connection is over: everything it holds is given back; the object too, unless somebody owns
// it.
void Stack::let_go(TcpEndpoint& endpoint) {
  if (endpoint.time_wait_index_ != SIZE_MAX) {
    time_wait_[endpoint.time_wait_index_].endpoint = nullptr;
    endpoint.time_wait_index_ = SIZE_MAX;
    --time_wait_count_;
  }
  timers_.cancel(endpoint.timer_);
  if (endpoint.keepalive_index_ != SIZE_MAX) update_keepalive(endpoint);
  endpoint.drop_held();
  if (endpoint.in_demux_) {
    tcp_.remove(endpoint);
    endpoint.in_demux_ = false;
  }
  if (endpoint.held_port_.port != 0) {
    claims_.drop(IPPROTO_TCP, endpoint.held_port_);
    endpoint.held_port_ = {};
  }
  forget_flow(endpoint);
  if (endpoint.kernel_socket_) {
    endpoint.kernel_socket_.reset();
    --kept_sockets_;
  }
  if (!endpoint.disowned_) return;
  records_.give_back(endpoint.record_);
  delete &endpoint;
}

// tcp_v4_err(), tcp_v6_err(): what is connecting ends, if the message quotes a segment that may be
// in flight. Of an established connection it would be a soft error, which nobody asks for here.
void Stack::check_unreachable() {
  while (const auto said = host_->next_unreachable()) {
    TcpEndpoint* const endpoint = tcp_.find({said->local, said->remote});
    if (endpoint == nullptr || endpoint->pcb_ == nullptr) continue;
    const tcp_pcb& pcb = *endpoint->pcb_;
    if (said->sequence - pcb.lastack > pcb.snd_nxt - pcb.lastack) continue;
    if (said->error == EMSGSIZE) lower_mtu(*endpoint, said->mtu_bytes);
    if (said->error == EMSGSIZE || pcb.state != SYN_SENT) continue;
    endpoint->abort();
    endpoint->fail(said->error);
    settle(*endpoint);
  }
}

// "Packet too big" (RFC 8201): no router fragments IPv6. What is queued is cut anew, and the lost
// segment comes again with its timer. Below the least MTU of IPv6 nobody is believed.
void Stack::lower_mtu(TcpEndpoint& endpoint, uint32_t mtu_bytes) {
  constexpr uint32_t kLeastBytes = 1280;
  const u16_t fits = mss_for(endpoint, std::max(mtu_bytes, kLeastBytes));
  if (fits >= endpoint.pcb_->mss) return;
  enter();
  endpoint.opened_mss_ = std::min(endpoint.opened_mss_, fits);
  endpoint.fit_segments(fits);
  settle(endpoint);
}

void Stack::check_neighbours() {
  if (!destinations_.anybody_waits()) return;
  // Both only grow.
  const uint64_t generation = host_->neighbour_generation() + host_->route_generation();
  if (generation == neighbours_seen_) return;
  neighbours_seen_ = generation;
  destinations_.retry(
      now_ns_,
      [this](const IpAddress& to, Destination& destination, const std::vector<uint8_t>& packet)
          UP_NO_THREAD_SAFETY {
            uint8_t* frame = write_ethernet(destination.mac, to);
            if (frame == nullptr) return;
            std::memcpy(frame + kEthernetHeaderBytes, packet.data(), packet.size());
            port().submit(static_cast<uint32_t>(kEthernetHeaderBytes + packet.size()));
          },
      [this](const IpAddress& ip) UP_NO_THREAD_SAFETY {
        // Only those who are connecting are told (RFC 1122 4.2.3.9: otherwise a soft error).
        for (TcpEndpoint* endpoint : tcp_.all()) {
          if (!endpoint->connecting_ || endpoint->flow_.remote.ip != ip) continue;
          endpoint->abort();
          endpoint->fail(EHOSTUNREACH);
          settle(*endpoint);
        }
      });
}

}  // namespace underpass
