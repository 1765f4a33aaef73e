// tcp_endpoint.cpp - what a program does with a connection, in lwIP's terms
#include "stack/tcp_endpoint.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "stack/lwip_port/lwip_window.h"
#include "stack/tcp_listener.h"

namespace underpass {

namespace {

SocketState to_linux(tcp_state state) {
  switch (state) {
    case SYN_SENT:
      return SocketState::kSynSent;
    case SYN_RCVD:
      return SocketState::kSynReceived;
    case ESTABLISHED:
      return SocketState::kEstablished;
    case FIN_WAIT_1:
      return SocketState::kFinWait1;
    case FIN_WAIT_2:
      return SocketState::kFinWait2;
    case CLOSE_WAIT:
      return SocketState::kCloseWait;
    case CLOSING:
      return SocketState::kClosing;
    case LAST_ACK:
      return SocketState::kLastAck;
    case TIME_WAIT:
      return SocketState::kTimeWait;
    case LISTEN:
      return SocketState::kListen;
    case CLOSED:
      break;
  }
  return SocketState::kClose;
}

// The one place where lwIP's error space ends.
int to_errno(err_t error) {
  switch (error) {
    case ERR_OK:
      return 0;
    case ERR_MEM:
    case ERR_BUF:
      return ENOBUFS;
    case ERR_TIMEOUT:
      return ETIMEDOUT;
    case ERR_RTE:
      return EHOSTUNREACH;
    case ERR_INPROGRESS:
      return EINPROGRESS;
    case ERR_VAL:
    case ERR_ARG:
      return EINVAL;
    case ERR_WOULDBLOCK:
      return EAGAIN;
    case ERR_USE:
      return EADDRINUSE;
    case ERR_ALREADY:
      return EALREADY;
    case ERR_ISCONN:
      return EISCONN;
    case ERR_CONN:
    case ERR_CLSD:
      return ENOTCONN;
    case ERR_RST:
      return ECONNRESET;
    case ERR_ABRT:
      return ETIMEDOUT;  // lwIP gives up a pcb this way when it has retried long enough
    default:
      return EIO;
  }
}

}  // namespace

// lwIP's callbacks; all run under the stack mutex, inside a call that a PcbWindow surrounds.
struct LwipCallbacks {
  static TcpEndpoint& self(void* arg) { return *static_cast<TcpEndpoint*>(arg); }

  static err_t received(void* arg, tcp_pcb*, pbuf* data, err_t) UP_NO_THREAD_SAFETY {
    if (data != nullptr) {
      self(arg).arrived(data);
    } else {
      self(arg).peer_finished();
    }
    return ERR_OK;
  }
  static err_t sent(void* arg, tcp_pcb*, u16_t) UP_NO_THREAD_SAFETY {
    self(arg).acknowledged();
    return ERR_OK;
  }
  static err_t connected(void* arg, tcp_pcb*, err_t) UP_NO_THREAD_SAFETY {
    self(arg).established();
    return ERR_OK;
  }
  static err_t accepted(void* arg, tcp_pcb* pcb, err_t) UP_NO_THREAD_SAFETY {
    if (pcb == nullptr)
      return ERR_OK;  // lwIP had no memory for one: the peer will send its SYN again
    TcpEndpoint& endpoint = self(arg);
    pcb->listener = nullptr;
    endpoint.stack_.keep_flow(endpoint);
    endpoint.established();
    const uint64_t defer_ns = uint64_t{endpoint.options_.defer_accept_s} * kNsPerS;
    endpoint.deferred_until_ns_ = defer_ns == 0 ? 0 : endpoint.stack_.now_ns() + defer_ns;
    if (defer_ns == 0) endpoint.listener_->became_ready(endpoint);
    return ERR_OK;
  }
  // lwIP has freed the pcb, or will before it returns.
  static void failed(void* arg, err_t error) UP_NO_THREAD_SAFETY {
    if (arg == nullptr) return;
    TcpEndpoint& endpoint = self(arg);
    const tcp_pcb* pcb = endpoint.pcb_;
    endpoint.pcb_ = nullptr;
    if (error == ERR_CLSD) return endpoint.fail(0);
    if (error == ERR_RST && endpoint.connecting_) return endpoint.fail(ECONNREFUSED);
    // As tcp_reset() in net/ipv4/tcp_input.c. For a reset lwIP frees the pcb after this call.
    if (error == ERR_RST && pcb != nullptr && pcb->state == CLOSE_WAIT) return endpoint.fail(EPIPE);
    endpoint.fail(to_errno(error));
  }

  static void install(tcp_pcb* pcb, TcpEndpoint& endpoint) {
    tcp_arg(pcb, &endpoint);
    tcp_recv(pcb, received);
    tcp_sent(pcb, sent);
    tcp_err(pcb, failed);
  }
};

void TcpEndpoint::install_callbacks() { LwipCallbacks::install(pcb_, *this); }

TcpEndpoint::TcpEndpoint(Stack& stack, const FourTuple& flow) : stack_(stack), flow_(flow) {
  timer_.endpoint = this;
}

Result<TcpEndpoint*> TcpEndpoint::connect(Stack& stack, const SocketAddress& local,
                                          const SocketAddress& remote, const TcpOptions& options,
                                          int fd) {
  const FourTuple flow{local, remote};
  if (stack.tcp().find(flow) != nullptr) return Error{EADDRNOTAVAIL};
  auto held = stack.ports().hold(IPPROTO_TCP, local);
  if (!held) return Error{held.error()};
  stack.ports().take_back(IPPROTO_TCP, local, remote);
  stack.enter();
  PcbWindow window(nullptr);
  tcp_pcb* pcb = tcp_new();
  if (pcb == nullptr) {
    stack.ports().drop(IPPROTO_TCP, local);
    return Error{ENOBUFS};
  }
  auto* endpoint = new TcpEndpoint(stack, flow);
  endpoint->held_port_ = local;
  endpoint->pcb_ = pcb;
  endpoint->opened_ns_ = stack.now_ns();
  endpoint->connecting_ = true;
  endpoint->options_ = options;
  pcb->local_ip = to_lwip(local.ip);
  pcb->local_port = local.port;
  pcb->netif_idx = netif_get_index(stack.lwip_netif());
  endpoint->install_callbacks();
  endpoint->apply_options();
  stack.tcp().add(*endpoint);
  endpoint->in_demux_ = true;
  stack.keep_flow(*endpoint);
  stack.records().take(endpoint->record_, IPPROTO_TCP, local, remote, fd);
  const ip_addr_t to = to_lwip(remote.ip);
  const err_t error = tcp_connect(pcb, &to, remote.port, LwipCallbacks::connected);
  if (error != ERR_OK) {
    tcp_arg(pcb, nullptr);
    tcp_abort(pcb);
    endpoint->pcb_ = nullptr;
    endpoint->disowned_ = true;
    stack.settle(*endpoint);
    return Error{to_errno(error)};
  }
  stack.counters().tcp_connects.fetch_add(1, std::memory_order_relaxed);
  stack.settle(*endpoint);
  return endpoint;
}

TcpEndpoint* TcpEndpoint::passive(Stack& stack, tcp_pcb* pcb, TcpListener& listener) {
  const FourTuple flow{{from_lwip(pcb->local_ip), pcb->local_port, 0},
                       {from_lwip(pcb->remote_ip), pcb->remote_port, 0}};
  auto* endpoint = new TcpEndpoint(stack, flow);
  endpoint->pcb_ = pcb;
  endpoint->opened_ns_ = stack.now_ns();
  endpoint->listener_ = &listener;
  endpoint->options_ = listener.options_;
  // Cannot fail: the listener holds the port, so this only counts.
  const SocketAddress claim = listener.local_.claim_for(flow.local.ip);
  if (stack.ports().hold(IPPROTO_TCP, claim)) endpoint->held_port_ = claim;
  endpoint->install_callbacks();
  endpoint->apply_options();
  stack.tcp().add(*endpoint);
  endpoint->in_demux_ = true;
  stack.records().take(endpoint->record_, IPPROTO_TCP, flow.local, flow.remote, -1);
  return endpoint;
}

TcpEndpoint::~TcpEndpoint() { drop_unread(); }

void TcpEndpoint::set_owner(EndpointOwner* owner, int fd) {
  owner_ = owner;
  if (record_ != nullptr) {
    record_->inode_fd.store(static_cast<uint32_t>(fd), std::memory_order_relaxed);
  }
}

void TcpEndpoint::apply_options() {
  if (pcb_ == nullptr) return;
  // Nagle and keepalive are ours (hold_tail(), Stack::keepalive()).
  tcp_nagle_disable(pcb_);
  const IpAddress& to = flow_.remote.ip;
  pcb_->tos = to.is_v4() ? options_.tos : options_.traffic_class;
  pcb_->ttl = to.is_v4() ? options_.ttl : options_.hop_limit;
  if (pcb_->ttl == 0) {
    pcb_->ttl = stack_.destinations().look_up(to, stack_.now_ns()).route.hop_limit;
  }
}

void TcpEndpoint::set_options(const TcpOptions& options) {
  const bool push = (options.no_delay && !options_.no_delay) || (!options.cork && options_.cork);
  const bool asks_for_less = options.receive_low_water < options_.receive_low_water;
  options_ = options;
  apply_options();
  if (options.note_arrivals && !arrivals_.on()) arrivals_.start(rx_bytes_);
  if (!options.note_arrivals) arrivals_.stop();
  if (asks_for_less && enough_to_read()) event(kReadable);  // tcp_set_rcvlowat()
  if (pcb_ == nullptr) return;
  stack_.enter();
  follow_window_limit();
  acknowledged();  // a larger buffer has room
  if (push && held_ != nullptr) {
    PcbWindow window(pcb_);
    send_held();
  }
  stack_.keepalive_changed(*this);
  stack_.settle(*this);
}

Result<void> TcpEndpoint::shutdown(int how) {
  if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR) return Error{EINVAL};
  if (pcb_ == nullptr || pcb_->state == TIME_WAIT) return Error{ENOTCONN};
  if (connecting_) {
    // inet_shutdown() in SYN_SENT disconnects.
    abort();
    fail(ECONNRESET);
    stack_.settle(*this);
    return {};
  }
  if (how != SHUT_WR) shut_read_ = true;
  if (how != SHUT_RD && !shut_write_) {
    shut_write_ = true;
    stack_.enter();
    PcbWindow window(pcb_);
    send_held();
    // ERR_MEM leaves TF_CLOSEPEND set: lwIP's fast timer tries again.
    tcp_shutdown(pcb_, 0, 1);
    if (PcbWindow::survivor() == nullptr) pcb_ = nullptr;
  }
  event(readiness() | kByTheProgram);
  stack_.settle(*this);
  return {};
}

// tcp_rcv_state_process() in net/ipv4/tcp_input.c, after RFC 1122 4.2.2.13.
bool TcpEndpoint::takes_no_more() const {
  return shut_read_ && !closed_ && pcb_ != nullptr &&
         (pcb_->state == FIN_WAIT_1 || pcb_->state == FIN_WAIT_2);
}

void TcpEndpoint::refuse_data() {
  abort();
  fail(ECONNRESET);
  stack_.settle(*this);
}

Readiness TcpEndpoint::readiness() const {
  if (closed_) return 0;
  // tcp_poll() in net/ipv4/tcp.c.
  Readiness ready = 0;
  const bool closed = pcb_ == nullptr;
  const bool no_more_input = peer_finished_ || shut_read_ || closed;
  const bool no_more_output = shut_write_ || closed;
  if (error_ != 0) ready |= EPOLLERR;
  if (no_more_input && no_more_output) ready |= EPOLLHUP;
  if (connecting_ && !closed) return ready;
  if (no_more_input) ready |= kReadable | EPOLLRDHUP;
  if (enough_to_read()) ready |= kReadable;
  if (urgent_.has_byte()) ready |= EPOLLPRI;
  if (no_more_output || send_space() != 0) {
    ready |= kWritable;
  } else {
    want_space_ = true;
  }
  return ready;
}

int TcpEndpoint::take_error() { return std::exchange(error_, 0); }

bool TcpEndpoint::connecting() const { return connecting_; }

bool TcpEndpoint::connected() const {
  return pcb_ != nullptr && !connecting_ && pcb_->state != TIME_WAIT;
}

size_t TcpEndpoint::unsent_bytes() const {
  if (pcb_ == nullptr) return 0;
  return TCP_SND_BUF - pcb_->snd_buf;
}

uint32_t TcpEndpoint::unacknowledged_bytes() const {
  return pcb_ == nullptr || connecting_ ? 0 : pcb_->snd_lbb - pcb_->lastack;
}

uint32_t TcpEndpoint::not_sent_bytes() const {
  return pcb_ == nullptr || connecting_ ? 0 : pcb_->snd_lbb - pcb_->snd_nxt;
}

void TcpEndpoint::segment_sent(uint32_t sequence, uint32_t payload_bytes) {
  traffic_.sent(sequence, payload_bytes, stack_.now_ns());
}

uint32_t TcpEndpoint::mss() const { return pcb_ == nullptr ? TCP_MSS : tcp_mss(pcb_); }

SocketState TcpEndpoint::state() const {
  return pcb_ == nullptr ? SocketState::kClose : to_linux(pcb_->state);
}

void TcpEndpoint::peer_finished() {
  peer_finished_ = true;
  traffic_.came_in_order(1);
  if (deferred_until_ns_ != 0) stop_deferring();
  event(kReadable | EPOLLRDHUP | (shut_write_ ? EPOLLHUP : 0U));
}

void TcpEndpoint::established() {
  connecting_ = false;
  was_connected_ = true;
  open_receive_window();
  event(kWritable);
}

void TcpEndpoint::fail(int error) {
  connecting_ = false;
  if (error != 0) error_ = error;
  if (listener_ != nullptr) listener_->lost(*this);
  event(kReadable | kWritable | EPOLLHUP | EPOLLRDHUP | (error != 0 ? EPOLLERR : 0U));
}

// Where a reset may stand: a probe of a closed window is behind what the peer takes
// (tcp_acceptable_seq() in net/ipv4/tcp_output.c).
uint32_t TcpEndpoint::acceptable_sequence() const {
  const uint32_t window_end = pcb_->lastack + pcb_->snd_wnd;
  return static_cast<int32_t>(pcb_->snd_nxt - window_end) > 0 ? window_end : pcb_->snd_nxt;
}

// Before lwIP frees it, which would send an acknowledgement that was put off: after a move it is
// the kernel's to send, and it would have lwIP's own time stamp.
void TcpEndpoint::detach_pcb() {
  tcp_arg(pcb_, nullptr);
  tcp_clear_flags(pcb_, TF_ACK_DELAY);
}

// Resets the connection without telling the owner.
void TcpEndpoint::abort() {
  if (pcb_ == nullptr) return;
  stack_.enter();
  PcbWindow window(pcb_);
  detach_pcb();
  // Where nothing has been agreed on there is nothing to reset (tcp_need_reset()).
  const bool reset = pcb_->state != SYN_SENT && pcb_->state != LAST_ACK && pcb_->state != CLOSING;
  pcb_->snd_nxt = acceptable_sequence();
  tcp_abandon(pcb_, reset ? 1 : 0);
  pcb_ = nullptr;
}

void TcpEndpoint::vanish() {
  if (pcb_ != nullptr) {
    stack_.enter();
    PcbWindow window(pcb_);
    detach_pcb();
    tcp_abandon(pcb_, 0);
    pcb_ = nullptr;
  }
  owner_ = nullptr;
  listener_ = nullptr;
  disowned_ = true;
  stack_.settle(*this);
}

Result<void> TcpEndpoint::move_out(int fd, bool may_return) {
  stack_.enter();
  auto now = snapshot();
  if (!now) return Error{connecting_ ? EAGAIN : ENOTCONN};
  now->state.may_return = may_return ? 1 : 0;
  auto moved = stack_.host().move_out(now->state, now->bytes, fd);
  // With the broker's answer others' news may have come.
  stack_.tend_listeners_at(stack_.now_ns());
  if (!moved && moved.error() == ETIMEDOUT) {
    abort();
    fail(ECONNABORTED);
    stack_.settle(*this);
    return Error{ECONNABORTED};
  }
  if (!moved) return moved;
  stack_.counters().tcp_moved_out.fetch_add(1, std::memory_order_relaxed);
  stack_.forget_moved(*this);
  vanish();
  return {};
}

void TcpEndpoint::keep(Fd kernel_socket) {
  if (!kernel_socket) return;
  kernel_socket_ = std::move(kernel_socket);
  stack_.count_kept_socket();
}

void TcpEndpoint::disown(Fd kernel_socket) {
  owner_ = nullptr;
  listener_ = nullptr;
  disowned_ = true;
  close(std::move(kernel_socket));
}

void TcpEndpoint::close(Fd kernel_socket) {
  closed_ = true;
  const bool finished = pcb_ == nullptr || pcb_->state == TIME_WAIT;
  if (!finished && (rx_bytes_ != 0 || options_.linger_s == 0 || connecting_)) {
    // tcp_close() in net/ipv4/tcp.c: a FIN would say that all was read.
    abort();
  } else if (!finished) {
    keep(std::move(kernel_socket));
    stack_.enter();
    PcbWindow window(pcb_);
    send_held();
    // Everything was read: lwIP must not take a window that is still to be announced for unread
    // data.
    pcb_->rcv_wnd = TCP_WND_MAX(pcb_);
    tcp_close(pcb_);
    if (PcbWindow::survivor() == nullptr) pcb_ = nullptr;
  } else if (pcb_ != nullptr) {
    keep(std::move(kernel_socket));
  }
  drop_unread();
  stack_.settle(*this);
}

void TcpEndpoint::event(Readiness events) {
  if (owner_ != nullptr && !closed_) owner_->endpoint_event(events);
}

void TcpEndpoint::publish() {
  if (record_ == nullptr) return;
  constexpr auto relaxed = std::memory_order_relaxed;
  record_->state.store(static_cast<uint8_t>(state()), relaxed);
  record_->rx_queue_bytes.store(static_cast<uint32_t>(rx_bytes_), relaxed);
  record_->tx_queue_bytes.store(static_cast<uint32_t>(unsent_bytes()), relaxed);
  if (pcb_ == nullptr) return;
  record_->snd_nxt.store(acceptable_sequence(), relaxed);
  record_->rcv_nxt.store(pcb_->rcv_nxt, relaxed);
  record_->rtt_us.store(round_trip_.smoothed_us(), relaxed);
}

Result<TcpListener*> TcpListener::open(Stack& stack, const Binding& local, int backlog,
                                       EndpointOwner& owner, int fd) {
  // Whoever has the port, too, may: the kernel has let both listen there.
  auto joined = stack.ports().join(IPPROTO_TCP, local);
  if (!joined) return Error{joined.error()};
  stack.enter();
  PcbWindow window(nullptr);
  tcp_pcb* pcb = tcp_new();
  tcp_pcb* listening = nullptr;
  if (pcb != nullptr) {
    // Our demultiplexer has already looked at the address.
    pcb->local_ip = *IP_ANY_TYPE;
    pcb->local_port = local.address.port;
    pcb->netif_idx = netif_get_index(stack.lwip_netif());
    listening = tcp_listen(pcb);
  }
  if (listening == nullptr) {
    if (pcb != nullptr) tcp_abort(pcb);
    stack.ports().leave(IPPROTO_TCP, local);
    stack.ports().drop(IPPROTO_TCP, local);
    return Error{ENOBUFS};
  }
  auto* listener = new TcpListener(stack, local, owner);
  listener->pcb_ = reinterpret_cast<tcp_pcb_listen*>(listening);
  tcp_accept(listening, LwipCallbacks::accepted);
  listener->set_backlog(backlog);
  stack.tcp().add(*listener);
  const SocketAddress nobody{IpAddress::any(local.address.ip.family()), 0, 0};
  stack.records().take(listener->record_, IPPROTO_TCP, local.address, nobody, fd);
  listener->publish();
  return listener;
}

void TcpListener::close() {
  stack_.tcp().remove(*this);
  rest();
  std::vector<TcpEndpoint*> orphans(ready_.begin(), ready_.end());
  orphans.insert(orphans.end(), embryonic_.begin(), embryonic_.end());
  ready_.clear();
  embryonic_.clear();
  for (TcpEndpoint* endpoint : orphans) {
    endpoint->abort();
    endpoint->disown(Fd());
  }
  {
    stack_.enter();
    PcbWindow window(nullptr, pcb_);
    tcp_close(reinterpret_cast<tcp_pcb*>(pcb_));
  }
  leave(local_.address);
  if (local_.families == Families::kBoth) leave(local_.over_v4());
  if (leaving_) stack_.leave_port_to_others();
  stack_.records().give_back(record_);
  delete this;
}

void TcpListener::leave(const SocketAddress& claim) {
  // With SO_REUSEPORT there may be others.
  if (!stack_.tcp().has_listener(claim)) stack_.isolate_connections(claim);
  stack_.ports().drop(IPPROTO_TCP, claim);
}

void TcpEndpoint::stop_deferring() {
  deferred_until_ns_ = 0;
  if (listener_ != nullptr) listener_->became_ready(*this);
}

void TcpListener::set_backlog(int backlog) {
  backlog_ = backlog < 0 ? SIZE_MAX / 2 : static_cast<size_t>(backlog);
  publish();
}

TcpEndpoint* TcpListener::take() {
  if (ready_.empty()) return nullptr;
  TcpEndpoint* endpoint = ready_.front();
  ready_.pop_front();
  endpoint->listener_ = nullptr;
  publish();
  return endpoint;
}

void TcpListener::became_ready(TcpEndpoint& endpoint) {
  std::erase(embryonic_, &endpoint);
  ready_.push_back(&endpoint);
  publish();
  endpoint.ready_ns_ = stack_.now_ns();
  if (owner_ != nullptr) owner_->endpoint_event(kReadable);
  if (is_shared()) stack_.tend_listeners_at(stack_.now_ns());
}

// A connection died before anybody accepted it. One that was established stays in the queue, as in
// Linux: accept() returns it and the first read tells the error.
void TcpListener::lost(TcpEndpoint& endpoint) {
  if (std::erase(embryonic_, &endpoint) == 0) return;
  endpoint.listener_ = nullptr;
  endpoint.disowned_ = true;
}

void TcpListener::drop_oldest() {
  TcpEndpoint* oldest = embryonic_.front();
  lost(*oldest);
  oldest->vanish();
}

void TcpListener::publish() {
  if (record_ == nullptr) return;
  constexpr auto relaxed = std::memory_order_relaxed;
  record_->state.store(static_cast<uint8_t>(SocketState::kListen), relaxed);
  record_->rx_queue_bytes.store(static_cast<uint32_t>(ready_.size()), relaxed);
  record_->tx_queue_bytes.store(static_cast<uint32_t>(std::min<size_t>(backlog_, UINT32_MAX)),
                                relaxed);
}

}  // namespace underpass
