// socket_file.cpp - the life of a socket: created, placed, connected or listening, closed
#include "stack/socket_file.h"

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "base/user_pointer.h"
#include "stack/clock.h"
#include "stack/owner_signal.h"
#include "stack/process.h"
#include "stack/signals.h"
#include "stack/socket_parts.h"
#include "stack/tcp_listener.h"
#include "stack/udp_endpoint.h"

namespace underpass {

namespace {

void count(std::atomic<uint64_t> ClientCounters::*counter) UP_REQUIRES(stack_mutex) {
  // The child of a fork has no stack until it makes a socket.
  Stack* const stack = Process::instance().stack();
  if (stack != nullptr) (stack->counters().*counter).fetch_add(1, std::memory_order_relaxed);
}

bool is_disconnect(const sockaddr* address, socklen_t length) {
  return address != nullptr && length >= sizeof(sa_family_t) && address->sa_family == AF_UNSPEC;
}

// A thread that waits for input.
class CountedReader {
 public:
  CountedReader(uint32_t& count, bool reads) : count_(reads ? &count : nullptr) {
    if (count_ != nullptr) ++*count_;
  }
  ~CountedReader() {
    if (count_ != nullptr) --*count_;
  }
  CountedReader(const CountedReader&) = delete;
  CountedReader& operator=(const CountedReader&) = delete;

 private:
  uint32_t* const count_;
};

// Of the kernel socket, whatever the program sees.
void set_nonblocking(int fd, bool on) {
  const int flags = sys::fcntl(fd, F_GETFL);
  sys::fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

}  // namespace

Ref<SocketFile> SocketFile::create(int fd, int family, int type, int protocol) {
  const int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
  const Options& options = Process::instance().options();
  const bool tcp = kind == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP) && options.tcp;
  const bool udp = kind == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP) && options.udp;
  if ((family != AF_INET && family != AF_INET6) || (!tcp && !udp)) return nullptr;
  if (!Process::instance().has_interface(fd) || !Process::instance().attach()) return nullptr;
  auto* file = new SocketFile(fd, family, kind, tcp ? IPPROTO_TCP : IPPROTO_UDP);
  file->nonblocking_ = (type & SOCK_NONBLOCK) != 0;
  StackLock lock;
  return Ref<SocketFile>(file);
}

Ref<SocketFile> SocketFile::create_raw(int fd, int type, int protocol) {
  constexpr int kKernels[] = {IPPROTO_IP, IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMPV6};
  for (const int kernels : kKernels) {
    if (protocol == kernels) return nullptr;
  }
  if (protocol < 0 || protocol >= IPPROTO_RAW || !Process::instance().has_interface(fd) ||
      !Process::instance().attach()) {
    return nullptr;
  }
  auto* made = new SocketFile(fd, AF_INET, SOCK_RAW, static_cast<uint8_t>(protocol));
  made->nonblocking_ = (type & SOCK_NONBLOCK) != 0;
  StackLock lock;
  Ref<SocketFile> file(made);
  // It receives from the beginning. Another process's stack may have the protocol.
  if (!file->open_datagram()) file->place(Placement::kKernel);
  return file;
}

Ref<SocketFile> SocketFile::adopt(int fd) {
  const int listens = read_option(fd, SOL_SOCKET, SO_ACCEPTCONN);
  if (listens != 1 || !Process::instance().options().tcp || !Process::instance().may_attach()) {
    return nullptr;
  }
  const int family = read_option(fd, SOL_SOCKET, SO_DOMAIN);
  const bool is_tcp = read_option(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP;
  if ((family != AF_INET && family != AF_INET6) || !is_tcp) return nullptr;
  if (!Process::instance().has_interface(fd)) return nullptr;
  auto* const made = new SocketFile(fd, family, SOCK_STREAM, IPPROTO_TCP);
  StackLock lock;
  Ref<SocketFile> file(made);
  made->placement_ = Placement::kInherited;
  made->shared_ = true;
  made->nonblocking_ = (sys::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
  // Of a listener it is sk_max_ack_backlog (tcp_get_info() in net/ipv4/tcp.c).
  tcp_info info{};
  socklen_t bytes = sizeof info;
  sys::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes);
  made->inherited_backlog_ = info.tcpi_sacked;
  made->note_options_of_listener();
  return file;
}

// What an accepted connection inherits of it, as far as the stack acts on it.
void SocketFile::note_options_of_listener() {
  struct Name {
    int level;
    int name;
    bool of_keepalive;
  };
  constexpr Name kNames[] = {
      {SOL_SOCKET, SO_OOBINLINE, false},      {IPPROTO_TCP, TCP_NODELAY, false},
      {IPPROTO_TCP, TCP_USER_TIMEOUT, false}, {SOL_SOCKET, SO_KEEPALIVE, true},
      {IPPROTO_TCP, TCP_KEEPIDLE, true},      {IPPROTO_TCP, TCP_KEEPINTVL, true},
      {IPPROTO_TCP, TCP_KEEPCNT, true}};
  const bool keeps_alive = read_option(fd_, SOL_SOCKET, SO_KEEPALIVE) > 0;
  for (const Name& one : kNames) {
    const int value = read_option(fd_, one.level, one.name);
    if (value <= 0 || (one.of_keepalive && !keeps_alive)) continue;
    options_.remember(one.level, one.name, &value, sizeof value);
    note_option(options_, one.level, one.name, &value, sizeof value, fd_);
  }
}

SocketFile::SocketFile(int fd, int family, int type, uint8_t protocol)
    : OpenFile(fd),
      family_(family),
      type_(type),
      protocol_(protocol),
      forks_before_(Process::instance().family().forks()) {}

SocketFile::~SocketFile() UP_NO_THREAD_SAFETY {
  if (placement_ == Placement::kLent) Process::instance().relocation().remove(*this);
}

void SocketFile::place(Placement placement) {
  if (placement_ == placement) return;
  placement_ = placement;
  if (placement == Placement::kKernel) count(&ClientCounters::kernel_placements);
  notify(kPlacementChanged);
}

Deadline SocketFile::receive_deadline() const {
  return options_.receive_timeout_ns == 0 ? Deadline::never()
                                          : Deadline::in_ns(options_.receive_timeout_ns);
}

Deadline SocketFile::send_deadline() const {
  return options_.send_timeout_ns == 0 ? Deadline::never()
                                       : Deadline::in_ns(options_.send_timeout_ns);
}

Readiness SocketFile::readiness() const {
  switch (placement_) {
    case Placement::kStream:
      return stream_->readiness() | (errors_.empty() && pending_error_ == 0 ? 0U : EPOLLERR);
    case Placement::kListener:
      return listener_ != nullptr && listener_->ready() ? EPOLLIN | EPOLLRDNORM : 0U;
    case Placement::kDatagram:
      return EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND | (pending_error_ != 0 ? EPOLLERR : 0U) |
             (datagram_->readable() || shut_read_ ? EPOLLIN | EPOLLRDNORM : 0U) |
             (shut_read_ ? EPOLLRDHUP : 0U) | (shut_read_ && shut_write_ ? EPOLLHUP : 0U);
    case Placement::kUnplaced:
      // Beside it what the kernel's closed socket says.
      return pending_error_ != 0 ? EPOLLERR | EPOLLHUP | EPOLLOUT | EPOLLWRNORM : 0U;
    case Placement::kKernel:
    case Placement::kParents:
    case Placement::kLent:
    case Placement::kMoving:
    case Placement::kInherited:
      break;
  }
  return 0;
}

Readiness SocketFile::kernel_events() const {
  switch (placement_) {
    case Placement::kStream:
    case Placement::kMoving:
      return 0;
    case Placement::kListener:
      return EPOLLIN | EPOLLRDNORM;
    case Placement::kDatagram:
      return EPOLLIN | EPOLLRDNORM | EPOLLERR | EPOLLHUP;
    case Placement::kUnplaced:
    case Placement::kKernel:
    case Placement::kParents:
    case Placement::kLent:
    case Placement::kInherited:
      break;
  }
  return ~(kPlacementChanged | kClosed);
}

// sk_wake_async() in net/socket.c.
void SocketFile::endpoint_event(Readiness events) {
  notify(events);
  if (!async_ || (events & kByTheProgram) != 0) return;
  const bool only_input = (events & (EPOLLOUT | EPOLLERR)) == 0;
  if (!only_input || waiting_to_read_ == 0) raise_io(fd_, events);
}

void SocketFile::endpoint_urgent() { raise_urgent(fd_); }

// The flags of the kernel socket are the parent's too, and it relies on O_NONBLOCK.
bool SocketFile::stays_after_fork() {
  if (placement_ == Placement::kLent) placement_ = Placement::kKernel;
  if (stream_ != nullptr && !stream_->connecting() && !stream_->gone()) {
    line_to_parent_ = Process::instance().family().line_to_parent();
    parents_flow_ = stream_->flow();
    if (line_to_parent_ >= 0) placement_ = Placement::kParents;
  }
  if (placement_ == Placement::kParents) {
    stream_ = nullptr;
    calls_ = 0;
    forget_observers();
    return true;
  }
  if (!hides_nonblocking()) return false;
  placement_ = Placement::kInherited;
  if (listener_ != nullptr) inherited_backlog_ = listener_->backlog();
  shared_ = true;
  joined_ = false;
  listener_ = nullptr;
  calls_ = 0;
  forget_observers();
  return true;
}

// The parent's listener is ours as well as soon as we want something of it. One that polls it in
// the parent's epoll set, which is the kernel's here, would not see what comes to the stack: it
// does not block in accept(2).
void SocketFile::begin_input() {
  if (listener_ != nullptr) return listener_->use();
  if (placement_ != Placement::kInherited || joined_) return;
  joined_ = true;
  const Ref<SocketFile> alive(this);
  // One that came from elsewhere: our own accept4(2) must never block.
  set_nonblocking(fd_, true);
  if (!attach_unlocked() || placement_ != Placement::kInherited || fd_ < 0) return;
  if (!can_bypass(kernel_binding().address) || !open_listener(inherited_backlog_)) return;
  listener_->use();
  const Binding local = listener_->local();
  Stack& stack = the_stack();
  // While nobody of ours had the port, connections of the kernel were made on it.
  constexpr uint64_t kInTheRingsNs = 200 * kNsPerMs;
  stack.stay_quiet(kInTheRingsNs);
  if (auto kept = Process::instance().attachment()->keep_kernel_flows(); !kept) {
    log_write(LogLevel::info, "connections of the kernel on port %u may be cut off: %s",
              local.address.port, strerrordesc_np(kept.error()));
  }
  stack.host().collect(local.address);
  if (local.families == Families::kBoth) stack.host().collect(local.over_v4());
}

void SocketFile::waits(bool on) {
  if (listener_ != nullptr) listener_->waits(on);
}

bool SocketFile::endpoint_is_shared() const {
  return shared_ || Process::instance().family().forks() > forks_before_;
}

void SocketFile::endpoint_leaves() {
  listener_ = nullptr;
  joined_ = true;
  if (placement_ == Placement::kListener) place(Placement::kInherited);
}

void SocketFile::pass() {
  // What cannot be moved passes as it is, an unconnected socket.
  const bool is_connection = placement_ == Placement::kStream || placement_ == Placement::kLent;
  if (is_connection) static_cast<void>(move_out().ok());
  if (placement_ == Placement::kListener) shared_ = true;
}

void SocketFile::leave_for_exec() {
  if (!hides_nonblocking()) return;
  const bool had_alone = !endpoint_is_shared();
  if (listener_ != nullptr) {
    inherited_backlog_ = listener_->backlog();
    std::exchange(listener_, nullptr)->leave_to_others();
    shared_ = true;
  }
  joined_ = false;
  // Other processes of ours rely on it; where there are none, the new program finds what this one
  // has set.
  if (had_alone && !nonblocking_) set_nonblocking(fd_, false);
  if (placement_ == Placement::kListener) place(Placement::kInherited);
}

void SocketFile::come_over() {
  if (placement_ != Placement::kParents) return;
  Family::ask(line_to_parent_, parents_flow_);
  place(Placement::kKernel);
}

void SocketFile::hint_kernel_ready(Readiness events) {
  if (events != 0) kernel_ready_ = true;
  if ((events & EPOLLERR) != 0) error_checked_ns_ = 0;
}

Result<void> SocketFile::wait_for(Readiness events, bool may_block, Deadline deadline, bool done) {
  if (!may_block) return Error{EAGAIN};
  const bool ask_kernel = kernel_events() != 0 && placement_ != Placement::kUnplaced;
  const Readiness of_kernel = ask_kernel ? kernel_events() & (events | EPOLLERR) : 0;
  return wait_beside(events, static_cast<short>(of_kernel & 0x7fffU), deadline, done);
}

Result<void> SocketFile::wait_beside(Readiness events, short kernel_events, Deadline deadline,
                                     bool done) {
  Ref<SocketFile> alive(this);  // another thread may close it meanwhile
  Waiter waiter;
  WaiterObservation observation(waiter, events);
  observation.attach(*this);
  const CountedReader reader(waiting_to_read_, (events & EPOLLIN) != 0);
  pollfd kernel{fd_, kernel_events, 0};
  const auto woke = waiter.wait(
      kernel_events != 0 ? std::span<pollfd>(&kernel, 1) : std::span<pollfd>(), deadline, nullptr);
  observation.detach();
  switch (woke) {
    case Waiter::Woke::kKernel:
      kernel_ready_ = true;
      break;
    case Waiter::Woke::kTimeout:
      return Error{EAGAIN};
    case Waiter::Woke::kSignal:
      // signal(7): a call with a time limit is never restarted.
      if (!done && deadline.at_ns == UINT64_MAX && interrupted_call_restarts()) break;
      return Error{EINTR};
    case Waiter::Woke::kNotified:
      break;
  }
  return {};
}

// ---- connect, listen, accept

void SocketFile::close_datagram() {
  if (datagram_ == nullptr) return;
  groups_.drop(the_stack().ports());
  std::exchange(datagram_, nullptr)->close();
}

void SocketFile::leave_to_kernel() {
  close_datagram();
  place(Placement::kKernel);
}

std::optional<Result<void>> SocketFile::connect(const sockaddr* address, socklen_t length) {
  const Call call(*this);
  if (!is_user_memory(address, length)) return from_kernel(sys::connect(fd_, address, length));
  if (placement_ == Placement::kStream) {
    if (!is_disconnect(address, length)) return finish_connect();
    ++disconnects_;
    return disconnect_stream();
  }
  if (placement_ == Placement::kLent) {
    auto done = from_kernel(sys::connect(fd_, address, length));
    if (done) stay_in_kernel();  // dissolved
    return done;
  }
  // What has come already is received as the socket was until now.
  if (datagram_ != nullptr && the_stack().readable()) the_stack().drive(monotonic_ns());
  auto remote = SocketAddress::from_sockaddr(address, length);
  const bool usable =
      remote.ok() && speaks(address->sa_family) && !hides_nonblocking() && !options_.kernel_only;
  if (usable && !is_stream_socket()) return connect_datagram(*remote, address, length);
  if (usable) {
    const auto route = route_through_interface(*remote);
    if (route) return connect_stream(*remote, *route);
  }
  if (placement_ == Placement::kUnplaced && remote.ok()) {
    place(Placement::kKernel);
    return std::nullopt;
  }
  // What is left fails at once, or disconnects a datagram socket: nothing that blocks.
  auto done = from_kernel(sys::connect(fd_, address, length));
  if (!done || !is_disconnect(address, length)) return done;
  if (datagram_ != nullptr) {
    datagram_->set_remote({IpAddress::any(family_), 0, 0});
    follow_kernel_name();
  }
  if (listener_ != nullptr) stop_listening();
  return {};
}

std::optional<Route> SocketFile::route_through_interface(const SocketAddress& remote) const {
  if (remote.port == 0 || !is_carried(remote.ip)) return {};
  const Binding local = kernel_binding();
  if (!can_bypass(local.address) || !reaches(local, remote)) return {};
  auto route = the_stack().host().route(remote.ip, local.claim_for(remote.ip).ip);
  if (!route || !route->through_interface) return {};
  return *route;
}

std::optional<Result<void>> SocketFile::connect_stream(const SocketAddress& remote,
                                                       const Route& route) {
  Stack& stack = the_stack();
  SocketAddress local = kernel_name();
  if (local.port == 0) {
    // IPv6's keeps its wildcard: the next connect may be to the other family.
    if (family_ == AF_INET) local.ip = route.source;
    auto bound = bind_kernel_to_any_port(local);
    if (!bound) return bound;
    local = kernel_name();
    // inet_bhash2_reset_saddr(): the program has bound nothing, so only the port stays.
    name_without_stream_ = {IpAddress::any(family_), local.port, 0};
  }
  if (local.ip.is_any()) local.ip = route.source;
  // What the program has set, or the namespace's tcp_syn_retries: at most 127 (MAX_TCP_SYNCNT).
  int syn_retries = 0;
  socklen_t bytes = sizeof syn_retries;
  if (sys::getsockopt(fd_, IPPROTO_TCP, TCP_SYNCNT, &syn_retries, &bytes) == 0) {
    options_.tcp.syn_retries = static_cast<uint8_t>(syn_retries);
  }
  auto stream = TcpEndpoint::connect(stack, local, remote, options_.tcp, fd_);
  if (!stream && (stream.error() == EADDRINUSE || stream.error() == ENOBUFS)) {
    // Another process's stack has the port (SO_REUSEPORT): the kernel connects.
    log_write(LogLevel::info, "port %u is another process's: the kernel connects", local.port);
    place(Placement::kKernel);
    return std::nullopt;
  }
  if (!stream) return Error{stream.error()};
  stream_ = *stream;
  stream_->set_owner(this, fd_);
  connect_reported_ = false;
  pending_error_ = 0;  // tcp_connect_init()
  place(Placement::kStream);
  stack.flush();
  return finish_connect();
}

// The second half of connect(2), and what a second call says.
Result<void> SocketFile::finish_connect() {
  const Deadline deadline = send_deadline();
  const bool first_call = !connect_reported_;
  const uint32_t disconnects = disconnects_;
  connect_reported_ = true;
  // Once connected it stays so for connect(2), whatever has become of it (SS_CONNECTED).
  if (connect_succeeded_) return Error{EISCONN};
  if (connect_shut_) return Error{EINVAL};
  while (stream_->connecting()) {
    if (nonblocking_) return Error{first_call ? EINPROGRESS : EALREADY};
    auto waited = wait_for(EPOLLOUT, true, deadline);
    if (stream_ == nullptr && placement_ == Placement::kLent) return {};
    // By connect(2), which leaves the error, or by shutdown(2) (__inet_stream_connect()).
    if (disconnects_ != disconnects) return Error{EPIPE};
    if (stream_ == nullptr) return Error{dissolved_error(ECONNABORTED)};
    if (!waited && stream_->connecting()) {
      if (waited.error() != EAGAIN) return waited;
      return Error{first_call ? EINPROGRESS : EALREADY};
    }
  }
  const int error = stream_->take_error();
  if (error != 0) {
    discard_stream();
    return Error{error};
  }
  if (stream_->gone() && !stream_->connected()) {
    discard_stream();
    return Error{ECONNABORTED};
  }
  connect_succeeded_ = true;
  if (Process::instance().relocation().away()) static_cast<void>(lend().ok());
  return {};
}

// As sk_state has it: what is in TIME-WAIT is no socket any more.
bool SocketFile::is_closed() const {
  return stream_->gone() || stream_->state() == SocketState::kTimeWait;
}

// A failed connect leaves the socket unconnected, and it may be used again (as Linux, unlike POSIX,
// allows).
void SocketFile::discard_stream() {
  stream_->disown(Fd());
  stream_ = nullptr;
  connect_reported_ = false;
  connect_succeeded_ = false;
  connect_shut_ = false;
  place(Placement::kUnplaced);
}

// What a blocked call says when the connection was dissolved under it: one of them has the error.
int SocketFile::dissolved_error(int otherwise) {
  return pending_error_ != 0 ? std::exchange(pending_error_, 0) : otherwise;
}

// connect(2) with AF_UNSPEC, and shutdown(2) of what is connecting: as tcp_disconnect(), the peer
// sees a reset, and the program an error.
Result<void> SocketFile::disconnect_stream() {
  const bool was_open = stream_->connecting() || stream_->connected();
  if (accepted_) name_without_stream_ = stream_->flow().local;
  TcpOptions abrupt = options_.tcp;
  abrupt.linger_s = 0;
  stream_->set_options(abrupt);
  discard_stream();
  accepted_ = false;
  the_stack().flush();
  if (!was_open) return {};
  pending_error_ = ECONNRESET;
  notify(EPOLLERR | EPOLLHUP | kWritable);
  return {};
}

// connect(2) gives the kernel socket a local address, and dissolving that takes it away again, with
// the port if it was never bound (__udp_disconnect() in net/ipv4/datagram.c).
void SocketFile::follow_kernel_name() {
  auto done = datagram_->rebind(kernel_binding());
  if (!done) {
    log_write(LogLevel::info, "port %u is another process's: some of it comes over the kernel",
              datagram_->local().port);
  }
  follow_groups();
}

Result<void> SocketFile::open_datagram() {
  if (datagram_ != nullptr && datagram_->is_bound()) return {};
  Binding local = kernel_binding();
  if (local.address.port == 0) {
    auto bound = bind_kernel_to_any_port(local.address);
    if (!bound) return bound;
    local = kernel_binding();
  }
  if (!can_bypass(local.address)) return Error{EADDRNOTAVAIL};
  // Dissolved, and now it has a port again.
  if (datagram_ != nullptr) {
    notify(kPlacementChanged);
    auto bound = datagram_->rebind(local);
    follow_groups();
    return bound;
  }
  const bool shared = read_option(fd_, SOL_SOCKET, SO_REUSEPORT) > 0;
  auto opened =
      UdpEndpoint::open(the_stack(), local, *this, fd_, protocol_, shared && !is_raw_socket());
  if (!opened) return Error{opened.error()};
  datagram_ = *opened;
  kernel_ready_ = true;
  const bool reused = read_option(fd_, SOL_SOCKET, SO_REUSEADDR) > 0;
  has_port_alone_ = !reused && !shared && !is_raw_socket();
  datagram_->set_has_port_alone(has_port_alone_);
  apply_options();
  place(Placement::kDatagram);
  follow_groups();
  return {};
}

// A socket on one address, as connect(2) makes it one, receives from no group. A multicast router
// forwards what others receive, too.
void SocketFile::follow_groups() {
  if (groups_.empty() || datagram_ == nullptr) return;
  Stack& stack = the_stack();
  const auto is_router = [&](const char* setting) UP_NO_THREAD_SAFETY {
    return stack.host().setting(setting).value_or(0) != 0;
  };
  const bool direct =
      has_port_alone_ && !options_.kernel_receives && !Process::instance().relocation().away() &&
      datagram_->binding().address.ip.is_any() && !is_router("conf/all/mc_forwarding") &&
      !is_router("../ipv6/conf/all/mc_forwarding");
  const Binding nowhere = SocketAddress{IpAddress::any(family_), 0, 0};
  groups_.follow(stack.ports(), fd_, interface_index(), direct ? datagram_->binding() : nowhere);
}

Result<void> SocketFile::connect_datagram(const SocketAddress& remote, const sockaddr* address,
                                          socklen_t length) {
  SocketAddress peer = remote;
  if (is_raw_socket()) peer.port = protocol_;  // whatever the program has put there
  const bool opens = datagram_ != nullptr || route_through_interface(peer).has_value();
  // The kernel socket is connected too: it filters what comes over the kernel, gets the ICMP
  // errors, and answers getpeername(). Connecting a datagram socket never blocks.
  auto done = from_kernel(sys::connect(fd_, address, length));
  if (!done) return done;
  if (!opens || !open_datagram()) {
    leave_to_kernel();
    return {};
  }
  datagram_->set_remote(peer);
  error_checks_ = 0;
  follow_kernel_name();
  return {};
}

Result<void> SocketFile::listen(int backlog) {
  if (placement_ == Placement::kStream) return Error{EINVAL};
  auto listening = from_kernel(sys::listen(fd_, backlog));
  if (!listening || placement_ == Placement::kDatagram || placement_ == Placement::kInherited) {
    return listening;
  }
  if (listener_ != nullptr) {
    listener_->set_backlog(backlog);
    return {};
  }
  const Binding local = kernel_binding();
  if (!can_bypass(local.address)) {
    place(Placement::kKernel);
    return {};
  }
  if (!open_listener(backlog < 0 ? INT_MAX : static_cast<size_t>(backlog))) {
    place(Placement::kKernel);
  }
  return {};
}

bool SocketFile::open_listener(size_t backlog) {
  const Binding local = kernel_binding();
  auto opened = TcpListener::open(the_stack(), local,
                                  static_cast<int>(std::min<size_t>(backlog, INT_MAX)), *this, fd_);
  if (!opened) {
    log_write(LogLevel::info, "port %u listens in the kernel only: %s", local.address.port,
              strerrordesc_np(opened.error()));
    return false;
  }
  listener_ = *opened;
  // bind(2) to an IPv6 address sets it, and what is accepted has it (inet6_bind()).
  const int v6_only = 1;
  if (!local.address.ip.is_v4() && local.families == Families::kOwn) {
    options_.remember(IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof v6_only);
  }
  const auto retries = the_stack().host().setting("tcp_synack_retries");
  if (retries && !options_.syn_count_set) options_.tcp.synack_retries = *retries;
  listener_->set_options(options_.tcp);
  // So that our own accept4(2) never blocks; what the program sees of O_NONBLOCK is nonblocking_.
  set_nonblocking(fd_, true);
  place(Placement::kListener);
  return true;
}

// shutdown(2), or connect(2) with AF_UNSPEC: it is as after bind(2), and may listen again.
void SocketFile::stop_listening() {
  std::exchange(listener_, nullptr)->close();
  the_stack().flush();
  if (!nonblocking_) set_nonblocking(fd_, false);
  notify(EPOLLIN | EPOLLHUP);
  place(Placement::kUnplaced);
}

Result<Accepted> SocketFile::take_from_kernel(sockaddr* address, socklen_t* length, int flags) {
  const int fd = sys::accept4(fd_, address, length, flags);
  if (fd < 0) {
    kernel_ready_ = false;
    return Error{-fd};
  }
  count(&ClientCounters::kernel_accepts);
  return Accepted{fd, borrow(fd, flags)};
}

// It has waited in another process, and is the kernel's.
Result<Accepted> SocketFile::take_brought(sockaddr* address, socklen_t* length, int flags) {
  // The descriptor first: without one it stays in the queue.
  const int room = sys::socket(family_, SOCK_STREAM | flags, 0);
  if (room < 0) return Error{-room};
  const bool is_own = listener_->next_is_own();
  const Fd brought = listener_->take_brought();
  const int fd = sys::dup3(brought.get(), room, flags & SOCK_CLOEXEC);
  if ((flags & SOCK_NONBLOCK) != 0) set_nonblocking(fd, true);
  SocketOptions inherited = options_;
  write_inherited_options(inherited, fd);
  count(&ClientCounters::kernel_accepts);
  if (address != nullptr) {
    auto named = from_kernel(sys::getpeername(fd, address, length));
    if (!named && named.error() != ENOTCONN) {
      sys::close(fd);
      return Error{named.error()};
    }
  }
  if (is_own) return Accepted{fd, borrow(fd, flags)};
  return Accepted{fd, nullptr};
}

Result<Accepted> SocketFile::take_bypassed(sockaddr* address, socklen_t* length, int flags) {
  if (!listener_->has_own()) return take_brought(address, length, flags);
  // The descriptor first: without one the connection stays in the queue.
  const int fd = sys::socket(family_, SOCK_STREAM | flags, 0);
  if (fd < 0) return Error{-fd};
  TcpEndpoint* stream = listener_->take();
  auto* file = new SocketFile(fd, family_, SOCK_STREAM, IPPROTO_TCP);
  file->nonblocking_ = (flags & SOCK_NONBLOCK) != 0;
  file->options_ = options_;
  file->accepted_ = true;
  file->connect_reported_ = true;
  file->connect_succeeded_ = true;
  file->stream_ = stream;
  file->placement_ = Placement::kStream;
  stream->set_owner(file, fd);
  stream->set_options(options_.tcp);
  write_inherited_options(file->options_, fd);
  count(&ClientCounters::tcp_accepts);
  const Ref<SocketFile> made(file);
  const SocketAddress peer = stream->flow().remote;
  if (Process::instance().relocation().away()) static_cast<void>(file->lend().ok());
  if (address != nullptr) {
    // Where it cannot be written the connection is lost, as in do_accept() in net/socket.c.
    auto written = write_address(peer, family_, address, length);
    if (!written) {
      file->last_close(fd);
      sys::close(fd);
      return Error{written.error()};
    }
  }
  return Accepted{fd, made};
}

Result<Accepted> SocketFile::accept(sockaddr* address, socklen_t* length, int flags) {
  if ((flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != 0) return Error{EINVAL};
  const Call call(*this);
  const Deadline deadline = receive_deadline();
  if (listener_ != nullptr || !nonblocking_) begin_input();
  for (;;) {
    if (placement_ == Placement::kInherited) {
      auto accepted = take_from_kernel(address, length, flags);
      if (accepted || accepted.error() != EAGAIN) return accepted;
      auto waited = wait_for(EPOLLIN, !nonblocking_, deadline);
      if (!waited) return Error{waited.error()};
      continue;
    }
    if (listener_ == nullptr) return Error{EINVAL};
    if (!listener_->ready()) the_stack().drive(monotonic_ns());
    // Each side gets its turn when both have connections.
    const bool kernel_first = kernel_ready_ && (++kernel_turn_ % 2 == 0);
    if (listener_->ready() && !kernel_first) return take_bypassed(address, length, flags);
    auto accepted = take_from_kernel(address, length, flags);
    if (accepted || accepted.error() != EAGAIN) return accepted;
    if (listener_->ready()) return take_bypassed(address, length, flags);
    const WaitsFor waits(*this);
    auto waited = wait_for(EPOLLIN, !nonblocking_, deadline);
    if (!waited) return Error{waited.error()};
  }
}

// ---- shutdown, close

// Of one that is not connected it says ENOTCONN, and takes effect (inet_shutdown()).
Result<void> SocketFile::shutdown_datagram(int how) {
  auto done = from_kernel(sys::shutdown(fd_, how));
  if (!done && done.error() != ENOTCONN) return done;
  shut_write_ = shut_write_ || how != SHUT_RD;
  if (how != SHUT_WR) {
    shut_read_ = true;
    notify(EPOLLIN | EPOLLRDHUP | (shut_write_ ? EPOLLHUP : 0U));
  }
  return done;
}

Result<void> SocketFile::shutdown(int how) {
  if (!is_stream_socket()) return shutdown_datagram(how);
  switch (placement_) {
    case Placement::kStream: {
      const bool known = how == SHUT_RD || how == SHUT_WR || how == SHUT_RDWR;
      if (known && stream_->connecting()) return disconnect_stream();
      // A connect whose outcome nobody has asked for is over then: SS_CONNECTING ends.
      if (known && !connect_succeeded_) (is_closed() ? connect_shut_ : connect_succeeded_) = true;
      auto done = stream_->shutdown(how);
      the_stack().flush();
      return done;
    }
    case Placement::kListener: {
      auto done = from_kernel(sys::shutdown(fd_, how));
      if (done && how != SHUT_WR) stop_listening();
      // Whoever polls is woken in any case (inet_shutdown()).
      if (done && how == SHUT_WR && readiness() != 0) notify(readiness());
      return done;
    }
    case Placement::kDatagram:
    case Placement::kUnplaced:
    case Placement::kKernel:
    case Placement::kParents:
    case Placement::kLent:
    case Placement::kMoving:
    case Placement::kInherited:
      break;
  }
  auto done = from_kernel(sys::shutdown(fd_, how));
  if (done && placement_ == Placement::kLent && how != SHUT_WR) shut_read_ = true;
  return done;
}

Result<void> SocketFile::give_to_kernel(bool may_return) {
  Stack& stack = the_stack();
  // What has come is taken, so that the peer need not send it again.
  stack.drive(monotonic_ns());
  shut_read_ = stream_->is_shut_for_reading();
  auto moved = stream_->move_out(fd_, may_return);
  if (!moved) return moved;
  stream_ = nullptr;
  if (shut_read_) sys::shutdown(fd_, SHUT_RD);
  return {};
}

Result<void> SocketFile::move_out() {
  if (placement_ == Placement::kLent) {
    stay_in_kernel();
    return {};
  }
  if (placement_ != Placement::kStream) return Error{EINVAL};
  auto moved = give_to_kernel(false);
  if (!moved) return moved;
  restore_buffers();
  place(Placement::kKernel);
  return {};
}

// SO_LINGER: the FIN goes out now, and close(2) waits for the data to arrive (socket(7)).
void SocketFile::linger(uint64_t limit_ns) {
  if (nonblocking_ || !stream_->connected() || stream_->unread_bytes() != 0) return;
  if (!stream_->shutdown(SHUT_WR)) return;
  Stack& stack = the_stack();
  stack.flush();
  // Acknowledgements are no event of a socket, so the look is repeated.
  constexpr uint64_t kLookEveryNs = kNsPerMs;
  const Deadline deadline = Deadline::in_ns(limit_ns);
  while (stream_ != nullptr && stream_->unsent_bytes() != 0 && !stream_->gone() &&
         !deadline.passed()) {
    const Deadline soon = Deadline::in_ns(kLookEveryNs);
    auto waited = wait_for(EPOLLHUP, true, soon.at_ns < deadline.at_ns ? soon : deadline);
    if (!waited && waited.error() == EINTR) return;
  }
}

void SocketFile::last_close(int fd) {
  if (calls_ != 0) {
    closing_ = private_duplicate(fd);
    if (closing_) {
      fd_ = closing_.get();
      notify(kRenumbered);
      return;
    }
  }
  close_now(fd, true);
}

void SocketFile::close_now(int fd, bool may_linger) {
  Ref<SocketFile> alive(this);
  const Fd closing = std::move(closing_);
  // Who still has it goes on with it.
  const bool shared = stream_ != nullptr && Process::instance().family().may_share(forks_before_);
  if (shared && move_out().ok()) {
    notify(kClosed);
  } else if (stream_ != nullptr) {
    Stack& stack = the_stack();
    const int linger_s = options_.tcp.linger_s;
    if (may_linger && linger_s > 0) linger(static_cast<uint64_t>(linger_s) * kNsPerS);
    notify(kClosed);
    TcpEndpoint* stream = std::exchange(stream_, nullptr);
    // An accepted connection has no port of its own in the kernel; a connected one keeps its until
    // the end.
    Fd keep;
    if (stream != nullptr && !accepted_ && !stream->gone()) keep = stack.keep_kernel_socket(fd);
    if (stream != nullptr) stream->disown(std::move(keep));
    stack.flush();
  } else {
    notify(kClosed);
  }
  if (listener_ != nullptr) {
    TcpListener* const listener = std::exchange(listener_, nullptr);
    if (endpoint_is_shared()) {
      listener->leave_to_others();
    } else {
      listener->close();
    }
    the_stack().flush();
  }
  close_datagram();
  if (placement_ == Placement::kLent) Process::instance().relocation().remove(*this);
  placement_ = Placement::kKernel;
  fd_ = -1;
}

// ---- options and flags

void SocketFile::apply_options() {
  if (stream_ != nullptr) {
    stream_->set_options(options_.tcp);
    the_stack().flush();
  }
  if (listener_ != nullptr) listener_->set_options(options_.tcp);
  if (datagram_ != nullptr) {
    if (options_.receive_buffer_bytes != 0) {
      datagram_->set_receive_buffer(options_.receive_buffer_bytes);
    }
    datagram_->set_record_timestamps(options_.times.any());
    // What is queued stays, the kernel receives what comes from now on.
    if (options_.kernel_receives && datagram_->is_bound()) {
      static_cast<void>(datagram_->rebind(SocketAddress{IpAddress::any(family_), 0, 0}).ok());
      follow_groups();
      notify(kPlacementChanged);
    }
  }
}

// What the kernel socket, which is closed, would accept (do_tcp_setsockopt() in net/ipv4/tcp.c).
bool SocketFile::refuses_option(int level, int name, const void* value, socklen_t length) const {
  if (stream_ == nullptr || level != IPPROTO_TCP) return false;
  if (is_closed()) return false;
  int number = 0;
  if (length < sizeof number || !is_user_memory(value, length)) return false;
  std::memcpy(&number, value, sizeof number);
  switch (name) {
    case TCP_FASTOPEN:
    case TCP_FASTOPEN_NO_COOKIE:
      return true;
    case TCP_FASTOPEN_CONNECT:
      return !fast_open_is_off(fd_);
    case TCP_WINDOW_CLAMP:
      return number == 0;
    default:
      return false;
  }
}

Result<void> SocketFile::setsockopt(int level, int name, const void* value, socklen_t length) {
  if (refuses_option(level, name, value, length)) return Error{EINVAL};
  if (stream_ != nullptr && needs_kernel(level, name, value, length, fd_, interface_index())) {
    // What cannot be moved stays, and does not obey.
    if (move_out()) return from_kernel(sys::setsockopt(fd_, level, name, value, length));
  }
  auto done = from_kernel(sys::setsockopt(fd_, level, name, value, length));
  if (!done) return done;
  if (level == SOL_SOCKET) note_buffers_set(name);
  if (type_ == SOCK_STREAM && stream_ == nullptr) {
    options_.remember(level, name, value, length);
  }
  if (level == IPPROTO_IPV6 && name == IPV6_ADDRFORM) family_ = AF_INET;
  if (level == IPPROTO_TCP && name == TCP_QUICKACK && stream_ != nullptr) {
    stream_->set_quick_ack(*static_cast<const int*>(value) != 0);
    the_stack().flush();
  }
  if (note_option(options_, level, name, value, length, fd_)) apply_options();
  if (type_ != SOCK_DGRAM) return {};
  // From now on others may bind the port.
  const bool shares = level == SOL_SOCKET && (name == SO_REUSEADDR || name == SO_REUSEPORT);
  if (shares) has_port_alone_ = false;
  if (shares && datagram_ != nullptr) datagram_->set_has_port_alone(false);
  if (shares || groups_.note(level, name, value, length)) follow_groups();
  return {};
}

// As sk_getsockopt() in net/core/sock.c: in every state, and no shorter than what is asked for.
Result<void> SocketFile::get_peer_name(void* value, socklen_t length) {
  sockaddr_storage peer{};
  if (show_address(stream_->flow().remote, family_, peer) < length) return Error{EINVAL};
  if (!is_user_memory(value, length)) return Error{EFAULT};
  std::memcpy(value, &peer, length);
  return {};
}

// As do_ipv6_getsockopt() in net/ipv6/ipv6_sockglue.c.
Result<void> SocketFile::get_path_mtu(void* value, socklen_t* length) {
  ip6_mtuinfo path{};
  if (*length < sizeof path) return Error{EINVAL};
  if (stream_->gone()) return Error{ENOTCONN};
  path.ip6m_mtu = the_stack().port().capabilities().mtu_bytes;
  *length = sizeof path;
  std::memcpy(value, &path, sizeof path);
  return {};
}

// Those that only the stack knows of a connection. ENOPROTOOPT: none of them.
Result<void> SocketFile::get_stream_option(int level, int name, void* value, socklen_t* length) {
  const bool socket_error = level == SOL_SOCKET && name == SO_ERROR;
  const bool tcp_information = level == IPPROTO_TCP && name == TCP_INFO;
  const bool segment_bytes = level == IPPROTO_TCP && name == TCP_MAXSEG;
  const bool path_mtu = (level == IPPROTO_IP && name == IP_MTU) ||
                        (level == IPPROTO_IPV6 && name == IPV6_MTU && family_ == AF_INET6);
  const bool peer_name = level == SOL_SOCKET && name == SO_PEERNAME;
  const bool of_v6 = level == IPPROTO_IPV6 && family_ == AF_INET6;
  const bool own_family = of_v6 && name == IPV6_ADDRFORM;
  const bool path = of_v6 && name == IPV6_PATHMTU;
  const bool hops =
      stream_->syn_hops() != 0 &&
      ((level == IPPROTO_IP && name == IP_MULTICAST_TTL && stream_->flow().remote.ip.is_v4()) ||
       (of_v6 && name == IPV6_MULTICAST_HOPS));
  // Of one that is connected Linux never says 0.
  const bool window_clamp =
      level == IPPROTO_TCP && name == TCP_WINDOW_CLAMP && options_.tcp.window_clamp_bytes == 0;
  const bool number_of_stack = socket_error || tcp_information || segment_bytes || path_mtu ||
                               own_family || hops || window_clamp;
  if (!number_of_stack && !peer_name && !path) return Error{ENOPROTOOPT};
  if (static_cast<int>(*length) < 0) return Error{EINVAL};
  if (peer_name) return get_peer_name(value, *length);
  if (!is_user_memory(value, *length)) return Error{EFAULT};
  if (path) return get_path_mtu(value, length);
  if (own_family && stream_->state() != SocketState::kEstablished) return Error{ENOTCONN};
  if (path_mtu && stream_->gone()) return Error{ENOTCONN};
  if (tcp_information) {
    stream_->info(fd_, value, length);
    return {};
  }
  const int number = socket_error   ? stream_->take_error()
                     : hops         ? stream_->syn_hops()
                     : window_clamp ? static_cast<int>(stream_->window_limit_bytes())
                     : own_family   ? family_
                     : segment_bytes
                         ? static_cast<int>(stream_->mss())
                         : static_cast<int>(the_stack().port().capabilities().mtu_bytes);
  // Of IPv4 a byte is enough (do_ip_getsockopt() in net/ipv4/ip_sockglue.c).
  const bool in_a_byte = level == IPPROTO_IP && *length != 0 && *length < sizeof number;
  *length = std::min<socklen_t>(*length, in_a_byte && number <= UINT8_MAX ? 1 : sizeof number);
  std::memcpy(value, &number, *length);
  return {};
}

Result<void> SocketFile::getsockopt(int level, int name, void* value, socklen_t* length) {
  if (pending_error_ != 0 && level == SOL_SOCKET && name == SO_ERROR && is_user_object(length) &&
      is_user_memory(value, *length)) {
    const int error = std::exchange(pending_error_, 0);
    *length = std::min<socklen_t>(*length, sizeof error);
    std::memcpy(value, &error, *length);
    return {};
  }
  if (stream_ != nullptr && is_user_object(length)) {
    auto done = get_stream_option(level, name, value, length);
    if (done || done.error() != ENOPROTOOPT) return done;
  }
  auto done = from_kernel(sys::getsockopt(fd_, level, name, value, length));
  if (done && level == SOL_SOCKET && shown_buffers_ && (name == SO_SNDBUF || name == SO_BUF_LOCK)) {
    const int shown = name == SO_SNDBUF ? shown_buffers_->send_bytes : shown_buffers_->locks;
    std::memcpy(value, &shown, std::min<size_t>(*length, sizeof shown));
  }
  return done;
}

Result<int> SocketFile::ioctl(unsigned long request, void* argument) {
  auto* number =
      is_user_object(static_cast<int*>(argument)) ? static_cast<int*>(argument) : nullptr;
  if (request == FIONBIO && number != nullptr) {
    nonblocking_ = *number != 0;
    if (hides_nonblocking()) return 0;
  }
  if (stream_ != nullptr && number != nullptr) {
    if (stream_->unread_bytes() == 0) the_stack().drive(monotonic_ns());
    switch (request) {
      case FIONREAD:  // SIOCINQ
        *number = static_cast<int>(stream_->unread_to_mark());
        return 0;
      case TIOCOUTQ:  // SIOCOUTQ
        *number = static_cast<int>(stream_->unacknowledged_bytes());
        return 0;
      case SIOCOUTQNSD:
        *number = static_cast<int>(stream_->not_sent_bytes());
        return 0;
      case SIOCATMARK:
        *number = stream_->at_mark() ? 1 : 0;
        return 0;
      default:
        break;
    }
  }
  if (datagram_ != nullptr && request == FIONREAD && number != nullptr) {
    if (!datagram_->readable()) the_stack().drive(monotonic_ns());
    if (datagram_->readable()) {
      *number = static_cast<int>(datagram_->next_bytes());
      return 0;
    }
  }
  const int result = sys::ioctl(fd_, request, argument);
  if (result < 0) return Error{-result};
  if (request == FIOASYNC && number != nullptr) async_ = *number != 0;
  return result;
}

Result<int> SocketFile::fcntl_flags(int command, int flags) {
  if (command == F_GETFL) {
    const int real = sys::fcntl(fd_, F_GETFL);
    if (real < 0) return Error{-real};
    return (real & ~O_NONBLOCK) | (nonblocking_ ? O_NONBLOCK : 0);
  }
  const int wanted = hides_nonblocking() ? flags | O_NONBLOCK : flags;
  const int result = sys::fcntl(fd_, F_SETFL, wanted);
  if (result < 0) return Error{-result};
  nonblocking_ = (flags & O_NONBLOCK) != 0;
  async_ = (flags & O_ASYNC) != 0;
  return 0;
}

}  // namespace underpass
