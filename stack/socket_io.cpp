// socket_io.cpp - sendmsg and recvmsg of a SocketFile, on which every other read and write is built
#include <netinet/tcp.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/limits.h"
#include "base/user_pointer.h"
#include "stack/clock.h"
#include "stack/process.h"
#include "stack/receive_control.h"
#include "stack/send_control.h"
#include "stack/socket_file.h"
#include "stack/socket_parts.h"
#include "stack/udp_endpoint.h"

namespace underpass {

namespace {

constexpr size_t kMaxIov = 1024;  // UIO_MAXIOV
// A program that looks for datagrams over and over without waiting has the kernel side asked at
// most this often; the first looks in a row ask always, as it may itself have sent what it looks
// for.
constexpr uint32_t kBusyLooks = 16;
constexpr uint64_t kKernelCheckNs = 20 * kNsPerUs;
constexpr uint32_t kKernelTurn = 64;

std::span<const iovec> pieces(const msghdr& message) {
  return {message.msg_iov, message.msg_iovlen};
}

// EMSGSIZE, EFAULT and EINVAL as import_iovec() says them. Whether the memory is there shows only
// when it is copied: would_fault().
Result<size_t> total_bytes(const msghdr& message) {
  if (message.msg_iovlen > kMaxIov) return Error{EMSGSIZE};
  if (!is_user_memory(message.msg_iov, message.msg_iovlen * sizeof(iovec))) return Error{EFAULT};
  size_t total = 0;
  for (const iovec& piece : pieces(message)) {
    if (piece.iov_len > SSIZE_MAX) return Error{EINVAL};
    if (!is_below_kernel(piece.iov_base, piece.iov_len)) return Error{EFAULT};
    total = std::min(total + piece.iov_len, kMaxTransferBytes);
  }
  return total;
}

// Whether `bytes` of the pieces, from `skip` on, are in memory that no program has.
bool would_fault(std::span<const iovec> pieces, size_t skip, size_t bytes) {
  for (const iovec& piece : pieces) {
    if (bytes == 0) return false;
    if (skip >= piece.iov_len) {
      skip -= piece.iov_len;
      continue;
    }
    if (!is_user_memory(piece.iov_base, piece.iov_len)) return true;
    bytes -= std::min(bytes, piece.iov_len - skip);
    skip = 0;
  }
  return false;
}

// What a connection may be told by control data, as sock_cmsg_send() in net/core/sock.c has it. All
// of it is without effect, or for a packet scheduler.
bool is_stream_control(const msghdr& message) {
  constexpr int kOptionId = 81;  // SCM_TS_OPT_ID
  constexpr int kTypes[] = {SO_MARK,         SO_TIMESTAMPING, SCM_TXTIME, SCM_RIGHTS,
                            SCM_CREDENTIALS, SO_PRIORITY,     kOptionId};
  if (message.msg_controllen == 0) return true;
  if (!is_user_memory(message.msg_control, message.msg_controllen)) return true;
  auto whole = message;
  for (cmsghdr* one = CMSG_FIRSTHDR(&whole); one != nullptr; one = CMSG_NXTHDR(&whole, one)) {
    const auto at = static_cast<size_t>(reinterpret_cast<uint8_t*>(one) -
                                        static_cast<uint8_t*>(message.msg_control));
    if (one->cmsg_len < sizeof(cmsghdr) || one->cmsg_len > message.msg_controllen - at)
      return false;
    if (one->cmsg_level == SOL_SOCKET &&
        std::find(std::begin(kTypes), std::end(kTypes), one->cmsg_type) == std::end(kTypes)) {
      return false;
    }
  }
  return true;
}

// SO_TIMESTAMPING for one call (Documentation/networking/timestamping.rst).
bool asks_for_times(const msghdr& message) {
  if (message.msg_controllen == 0) return false;
  if (!is_user_memory(message.msg_control, message.msg_controllen)) return false;
  auto whole = message;
  for (cmsghdr* one = CMSG_FIRSTHDR(&whole); one != nullptr; one = CMSG_NXTHDR(&whole, one)) {
    if (one->cmsg_level == SOL_SOCKET && one->cmsg_type == SO_TIMESTAMPING) return true;
  }
  return false;
}

// A call that may block and is the kernel's alone, with the lock given back.
template <class Call>
Result<size_t> without_the_lock(bool may_restart, Call call) UP_NO_THREAD_SAFETY {
  struct Unlocked {
    Unlocked() UP_NO_THREAD_SAFETY { stack_mutex.unlock_and_stay_inside(); }
    ~Unlocked() UP_NO_THREAD_SAFETY { stack_mutex.lock_from_inside(); }
  };
  auto at_kernel = [&] { return static_cast<int>(call()); };
  for (;;) {
    const Unlocked unlocked;
    forget_interruption();
    const int done = with_signals_let_in(nullptr, at_kernel);
    if (done == -EINTR && may_restart && interrupted_call_restarts()) continue;
    if (done < 0) return Error{-done};
    return static_cast<size_t>(done);
  }
}

}  // namespace

bool fast_open_is_off(int fd) {
  int value = 0;
  socklen_t bytes = sizeof value;
  return sys::getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &value, &bytes) == 0 &&
         sys::setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &value, bytes) == -EOPNOTSUPP;
}

Result<size_t> SocketFile::sendmsg(const msghdr& message, int flags) {
  if (pending_error_ != 0 && placement_ != Placement::kUnplaced) {
    return Error{std::exchange(pending_error_, 0)};
  }
  if (!is_stream_socket()) return send_datagram(message, flags);
  if (placement_ == Placement::kLent) return send_lent(message, flags);
  if ((flags & MSG_FASTOPEN) != 0 &&
      (message.msg_name != nullptr || placement_ == Placement::kStream)) {
    return send_connecting(message, flags);
  }
  if (placement_ == Placement::kStream) return send_stream(message, flags);
  if (pending_error_ != 0) return Error{std::exchange(pending_error_, 0)};
  // An unconnected or listening socket: the kernel has the right errno.
  const long sent = sys::sendmsg(fd_, &message, flags | MSG_NOSIGNAL);
  if (sent < 0) return Error{static_cast<int>(-sent)};
  return static_cast<size_t>(sent);
}

Result<size_t> SocketFile::recvmsg(msghdr& message, int flags) {
  return receive_message(message, flags, false);
}

// do_recvmmsg() in net/socket.c.
Result<size_t> SocketFile::recvmmsg(mmsghdr* messages, size_t count, int flags, Deadline deadline) {
  const Call call(*this);
  int error = 0;
  socklen_t bytes = sizeof error;
  if ((flags & MSG_ERRQUEUE) == 0 && getsockopt(SOL_SOCKET, SO_ERROR, &error, &bytes) &&
      error != 0) {
    return Error{error};
  }
  size_t done = 0;
  while (done < count) {
    const bool waits_no_more = done != 0 && (flags & MSG_WAITFORONE) != 0;
    const int each = (flags & ~MSG_WAITFORONE) | (waits_no_more ? MSG_DONTWAIT : 0);
    const auto got = receive_message(messages[done].msg_hdr, each, done != 0);
    if (!got && done == 0) return got;
    if (!got) {
      // The next call says so. As it was to be restarted (sock_intr_errno()) it has an odd number.
      constexpr int kErestartsys = 512;
      const bool restarts = got.error() == EINTR && options_.receive_timeout_ns == 0;
      if (got.error() != EAGAIN) pending_error_ = restarts ? kErestartsys : got.error();
      if (got.error() != EAGAIN) notify(EPOLLERR);
      return done;
    }
    messages[done++].msg_len = static_cast<unsigned>(*got);
    if (deadline.passed()) return done;
  }
  return done;
}

Result<size_t> SocketFile::receive_message(msghdr& message, int flags, bool is_next) {
  const msghdr before = message;
  auto got = receive(message, flags, is_next);
  if (!got) message = before;                              // what fails writes nothing
  if (got) message.msg_flags |= flags & MSG_CMSG_CLOEXEC;  // ____sys_recvmsg() in net/socket.c
  return got;
}

Result<size_t> SocketFile::receive(msghdr& message, int flags, bool is_next) {
  // What a connection has received comes before.
  if (placement_ == Placement::kStream) return receive_stream(message, flags, is_next);
  if (pending_error_ != 0 && (flags & (MSG_OOB | MSG_ERRQUEUE)) == 0) {
    return Error{std::exchange(pending_error_, 0)};
  }
  if (!is_stream_socket()) return receive_datagram(message, flags, is_next);
  if (placement_ == Placement::kLent) return receive_lent(message, flags, is_next);
  if (is_next && placement_ == Placement::kKernel) {
    const int fd = fd_;
    return without_the_lock(false, [&] { return sys::recvmsg(fd, &message, flags); });
  }
  const long got = sys::recvmsg(fd_, &message, flags | MSG_DONTWAIT);
  if (got < 0) return Error{static_cast<int>(-got)};
  return static_cast<size_t>(got);
}

// MSG_FASTOPEN: connect(2) and send(2) in one. Without a cookie, and we have none, the kernel does
// no more (tcp_sendmsg_fastopen() in net/ipv4/tcp.c).
Result<size_t> SocketFile::send_connecting(const msghdr& message, int flags) {
  const auto* address = static_cast<const sockaddr*>(message.msg_name);
  const bool usable = is_user_memory(address, message.msg_namelen);
  if (!usable) return Error{EFAULT};
  const bool unspecified =
      message.msg_namelen >= sizeof(sa_family_t) && address->sa_family == AF_UNSPEC;
  if (unspecified || fast_open_is_off(fd_)) return Error{EOPNOTSUPP};
  const Call call(*this);
  const auto connected = connect(address, message.msg_namelen);
  if (!connected) {
    const int fd = fd_;
    return without_the_lock(options_.send_timeout_ns == 0,
                            [&] { return sys::sendmsg(fd, &message, flags | MSG_NOSIGNAL); });
  }
  if (!*connected) return Error{connected->error()};
  return send_stream(message, flags & ~MSG_FASTOPEN);
}

// ---- streams

Result<size_t> SocketFile::send_stream(const msghdr& message, int flags) {
  // Only the kernel tells when these bytes have left.
  if (asks_for_times(message) && move_out()) {
    const int fd = fd_;
    return without_the_lock(options_.send_timeout_ns == 0,
                            [&] { return sys::sendmsg(fd, &message, flags | MSG_NOSIGNAL); });
  }
  const auto sent = send_stream_bytes(message, flags);
  if (options_.zero_copy && (flags & MSG_ZEROCOPY) != 0 && sent && *sent != 0) {
    errors_.zero_copy_done();
    notify(EPOLLERR);
  }
  return sent;
}

Result<size_t> SocketFile::send_stream_bytes(const msghdr& message, int flags) {
  auto total = total_bytes(message);
  if (!total) return total;
  const bool refused = !is_stream_control(message);
  const Call call(*this);
  const bool may_block = !nonblocking_ && (flags & MSG_DONTWAIT) == 0;
  const Deadline deadline = may_block ? send_deadline() : Deadline::never();
  Stack& stack = the_stack();
  size_t done = 0;
  for (;;) {
    // A program that only sends still needs its ACKs handled.
    if (stack.readable()) stack.drive(monotonic_ns());
    // The connection's own errors come first.
    const bool faults = would_fault(pieces(message), done, *total - done);
    const bool nothing = refused || faults;
    auto sent = stream_->send(nothing ? std::span<const iovec>() : pieces(message), done, flags);
    if (sent && nothing) sent = Error{refused ? EINVAL : EFAULT};
    stack.flush();
    if (sent) {
      done += *sent;
      if (done >= *total || !may_block) return done;
      continue;
    }
    if (sent.error() != EAGAIN) {
      if (done == 0) return sent;
      return done;
    }
    auto waited = wait_for(EPOLLOUT, may_block, deadline, done != 0);
    if (!waited) {
      if (done == 0) return Error{waited.error()};
      return done;
    }
    if (stream_ == nullptr) return go_on(message, flags, done, true);
  }
}

Result<size_t> SocketFile::wait_for_room() {
  const Call call(*this);
  const Deadline deadline = nonblocking_ ? Deadline::never() : send_deadline();
  while (placement_ == Placement::kStream) {
    the_stack().drive(monotonic_ns());
    // Nothing to send: it only says what is wrong.
    const auto state = stream_->send({}, 0, 0);
    if (!state && state.error() != EAGAIN) return state;
    const size_t room = state ? stream_->room_to_send() : 0;
    if (room != 0) return room;
    auto waited = wait_for(EPOLLOUT, !nonblocking_, deadline);
    if (!waited) return Error{waited.error()};
  }
  if (placement_ == Placement::kLent) return wait_for_lent_room();
  return Error{EPIPE};
}

Result<size_t> SocketFile::receive_stream(msghdr& message, int flags, bool is_next) {
  const size_t control_room = message.msg_control == nullptr ? 0 : message.msg_controllen;
  uint64_t arrived_ns = 0;
  const auto got = receive_stream_bytes(message, flags, is_next, &arrived_ns);
  const bool plain = (flags & (MSG_ERRQUEUE | MSG_OOB)) == 0;
  if (got && plain) write_stream_control(message, control_room, arrived_ns);
  return got;
}

Result<size_t> SocketFile::receive_stream_bytes(msghdr& message, int flags, bool is_next,
                                                uint64_t* arrived_ns) {
  if ((flags & MSG_ERRQUEUE) != 0) return errors_.receive(message, family_);
  const bool peek = (flags & MSG_PEEK) != 0;
  // MSG_TRUNC of a stream throws the bytes away (tcp(7)).
  const bool copies = (flags & MSG_TRUNC) == 0;
  auto total = total_bytes(message);
  if (!total) return total;
  const Call call(*this);
  const bool may_block = !nonblocking_ && (flags & MSG_DONTWAIT) == 0;
  const Deadline deadline = may_block ? receive_deadline() : Deadline::never();
  const size_t wanted = (flags & MSG_WAITALL) != 0
                            ? *total
                            : std::min<size_t>(*total, options_.tcp.receive_low_water);
  Stack& stack = the_stack();
  message.msg_namelen = 0;
  message.msg_controllen = 0;
  message.msg_flags = 0;
  if ((flags & MSG_OOB) != 0) {
    stack.drive(monotonic_ns());
    // A byte that cannot be copied stays.
    const bool discards = (flags & MSG_TRUNC) != 0;
    if (!discards && stream_->has_urgent_byte() && would_fault(pieces(message), 0, 1)) {
      return Error{EFAULT};
    }
    return stream_->receive_urgent(pieces(message), flags, &message.msg_flags);
  }
  size_t done = 0;
  for (;;) {
    if (stream_->unread_bytes() == 0) stack.drive(monotonic_ns());
    if (peek) done = 0;  // a peek starts over
    const size_t copied = std::min(stream_->unread_bytes(), *total - done);
    const bool faults = copies && would_fault(pieces(message), done, copied);
    if (pending_error_ != 0 && stream_->unread_bytes() == 0) {
      if (done == 0) return Error{std::exchange(pending_error_, 0)};
      return done;
    }
    auto got =
        faults ? Result<size_t>(Error{EFAULT}) : stream_->receive(pieces(message), done, flags);
    if (got) {
      done += *got;
      if (*got != 0) *arrived_ns = stream_->arrived_ns();
      // Without need the ACK and window update wait for the next call's batch of frames.
      stack.flush();
      if (*got == 0 || done >= wanted || stream_->stops_after(peek ? done : 0)) return done;
      // What comes next may be here already, or the end; a peek would only see the same again.
      if (!peek) continue;
      if ((stream_->readiness() & (EPOLLRDHUP | EPOLLERR)) != 0) return done;
    } else if (got.error() != EAGAIN) {
      if (done == 0) return got;
      return done;
    }
    auto waited = wait_for(EPOLLIN | EPOLLRDHUP, may_block, deadline, is_next || done != 0);
    // With no room for anything it waits once, whatever it is woken by (tcp_recvmsg_locked()).
    if (may_block && *total == 0) return size_t{0};
    if (!waited) {
      if (done == 0) return Error{waited.error()};
      return done;
    }
    if (stream_ == nullptr) return go_on(message, flags, done, false);
  }
}

// Of what the message names, `done` bytes have been moved.
Result<size_t> SocketFile::go_on_in_kernel(const msghdr& message, int flags, size_t done,
                                           bool sends) {
  if (placement_ != Placement::kKernel || fd_ < 0) {
    // Dissolved. A call that receives leaves the error itself (sk_wait_event() in
    // include/net/sock.h).
    if (sends) return Error{dissolved_error(EPIPE)};
    if (done == 0) return Error{EPIPE};
    return done;
  }
  std::vector<iovec> left;
  size_t skipped = done;
  for (const iovec& piece : pieces(message)) {
    const size_t skip = std::min(skipped, piece.iov_len);
    skipped -= skip;
    if (piece.iov_len == skip) continue;
    left.push_back({static_cast<uint8_t*>(piece.iov_base) + skip, piece.iov_len - skip});
  }
  if (left.empty()) return done;
  msghdr rest{};
  rest.msg_iov = left.data();
  rest.msg_iovlen = left.size();
  const int fd = fd_;
  const bool may_restart =
      done == 0 && (sends ? options_.send_timeout_ns : options_.receive_timeout_ns) == 0;
  const auto moved = without_the_lock(may_restart, [&] {
    return sends ? sys::sendmsg(fd, &rest, flags | MSG_NOSIGNAL) : sys::recvmsg(fd, &rest, flags);
  });
  if (!moved && done != 0) return done;
  if (!moved) return moved;
  return done + *moved;
}

// ---- datagrams

// The kernel's send buffer may be full, of datagrams to a neighbour that does not answer.
Result<size_t> SocketFile::send_datagram_by_kernel(const msghdr& message, int flags) {
  const Call call(*this);
  const bool may_block = !nonblocking_ && (flags & MSG_DONTWAIT) == 0;
  const Deadline deadline = may_block ? send_deadline() : Deadline::never();
  if (datagram_ != nullptr) {
    the_stack().counters().udp_kernel_sends.fetch_add(1, std::memory_order_relaxed);
  }
  for (;;) {
    const long sent = sys::sendmsg(fd_, &message, flags | MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      corked_ = (flags & MSG_MORE) != 0;
      return static_cast<size_t>(sent);
    }
    if (sent != -EAGAIN || !may_block) return Error{static_cast<int>(-sent)};
    auto waited = wait_beside(0, POLLOUT, deadline, false);
    if (!waited) return Error{waited.error()};
  }
}

Result<size_t> SocketFile::send_datagram(const msghdr& message, int flags) {
  auto total = total_bytes(message);
  if (!total) return total;
  auto by_kernel = [&]() UP_NO_THREAD_SAFETY { return send_datagram_by_kernel(message, flags); };
  // What only the kernel can do: corking, fragments, errors, most control data.
  Stack& stack = the_stack();
  constexpr int kPlainFlags = MSG_DONTWAIT | MSG_NOSIGNAL;
  if (options_.kernel_only || (flags & ~kPlainFlags) != 0 || placement_ == Placement::kKernel ||
      corked_ || shut_write_ || would_fault(pieces(message), 0, *total) ||
      !is_user_memory(message.msg_name, message.msg_namelen)) {
    return by_kernel();
  }
  SocketAddress to = datagram_ != nullptr ? datagram_->remote() : SocketAddress{};
  if (message.msg_name != nullptr) {
    const auto* name = static_cast<const sockaddr*>(message.msg_name);
    auto named = SocketAddress::from_sockaddr(name, message.msg_namelen);
    if (!named || !speaks(name->sa_family)) return by_kernel();
    to = *named;
    if (is_raw_socket()) to.port = protocol_;
  }
  const size_t limit = stack.port().capabilities().mtu_bytes - header_bytes(to.ip);
  if (to.port == 0 || !is_carried(to.ip) || *total > limit) return by_kernel();
  const uint32_t ifindex = interface_index();
  const TcpOptions& own = options_.tcp;
  const SendControl otherwise{IpAddress::any(to.ip.family()),
                              to.ip.is_v4() ? own.ttl : own.hop_limit,
                              to.ip.is_v4() ? own.tos : own.traffic_class};
  const auto control = read_send_control(message, otherwise, ifindex);
  if (!control || !can_bypass({control->source, 0, ifindex})) return by_kernel();
  const Destination& destination =
      stack.destinations().look_up(to.ip, std::max(stack.last_drive_ns(), monotonic_ns()));
  if (destination.error != 0 || !destination.route.through_interface) return by_kernel();
  if (!open_datagram()) {
    leave_to_kernel();
    return by_kernel();
  }
  if (!reaches(datagram_->binding(), to)) return by_kernel();
  if (stack.readable()) stack.drive(monotonic_ns());
  if (pending_kernel_error()) return Error{std::exchange(kernel_error_, 0)};
  SocketAddress from = datagram_->local();
  if (!control->source.is_any()) from.ip = control->source;
  auto sent =
      is_raw_socket()
          ? stack.send_raw({from, to.ip, control->ttl, control->tos, options_.header_included},
                           pieces(message), *total)
          : stack.send_udp(from, to, control->ttl, control->tos, pieces(message), *total);
  stack.flush();
  if (!sent) return by_kernel();
  return *total;
}

// fib_compute_spec_dst() in net/ipv4/fib_frontend.c.
IpAddress SocketFile::answering(const Datagram& datagram) const {
  if (!options_.packet_info || !datagram.to.is_multicast()) return datagram.to;
  const auto route = the_stack().host().route(datagram.from.ip, IpAddress::any(AF_INET));
  return route && datagram.to.is_v4() ? route->source : datagram.to;
}

// What the stack puts in front of a datagram.
size_t SocketFile::header_bytes(const IpAddress& to) const {
  if (options_.header_included) return 0;
  return ip_header_bytes(to) + (is_raw_socket() ? 0 : kUdpHeaderBytes);
}

// ICMP errors reach the kernel socket; a connected sender learns of them with its next call
// (udp(7)).
bool SocketFile::pending_kernel_error() {
  if (datagram_->remote().port == 0) return false;
  const uint64_t now = monotonic_ns();
  // The first sends are those that show that nobody is there; a stream of them need not ask each
  // time.
  constexpr uint64_t kErrorCheckNs = kNsPerMs;
  constexpr uint32_t kFirstSends = 32;
  if (error_checks_ >= kFirstSends && now - error_checked_ns_ < kErrorCheckNs) return false;
  ++error_checks_;
  error_checked_ns_ = now;
  int error = 0;
  socklen_t length = sizeof error;
  if (sys::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &length) == 0) kernel_error_ = error;
  if (kernel_error_ != 0) error_checks_ = 0;
  return kernel_error_ != 0;
}

Result<size_t> SocketFile::receive_datagram_from_kernel(msghdr& message, int flags) {
  kernel_checked_ns_ = monotonic_ns();
  const long got = sys::recvmsg(fd_, &message, flags | MSG_DONTWAIT);
  if (got < 0) {
    kernel_ready_ = false;
    return Error{static_cast<int>(-got)};
  }
  empty_looks_ = 0;
  the_stack().counters().udp_kernel_receives.fetch_add(1, std::memory_order_relaxed);
  return static_cast<size_t>(got);
}

Result<size_t> SocketFile::receive_datagram(msghdr& message, int flags, bool is_next) {
  const Call call(*this);
  const bool may_block = !nonblocking_ && (flags & MSG_DONTWAIT) == 0;
  const Deadline deadline = may_block ? receive_deadline() : Deadline::never();
  auto total = total_bytes(message);
  if (!total) return total;
  if ((flags & (MSG_ERRQUEUE | MSG_OOB)) != 0) return receive_datagram_from_kernel(message, flags);
  const bool queued = datagram_ != nullptr && datagram_->readable();
  // Nothing comes to a socket without a port, and waiting gives it none: until somebody sends.
  while (!queued && !has_port()) {
    auto got = receive_datagram_from_kernel(message, flags);
    if (got || got.error() != EAGAIN || !may_block) return got;
    auto waited = wait_beside(EPOLLIN, POLLIN, deadline, is_next);
    if (!waited) return Error{waited.error()};
  }
  if (placement_ == Placement::kKernel || (!queued && !open_datagram())) {
    leave_to_kernel();
    const int fd = fd_;
    const bool may_restart = deadline.at_ns == UINT64_MAX && !is_next;
    return without_the_lock(may_restart, [&] { return sys::recvmsg(fd, &message, flags); });
  }
  Stack& stack = the_stack();
  const socklen_t name_room = message.msg_name == nullptr ? 0 : message.msg_namelen;
  const size_t control_room = message.msg_control == nullptr ? 0 : message.msg_controllen;
  for (;;) {
    if (!datagram_->readable()) stack.drive(monotonic_ns());
    const bool kernel_first = kernel_ready_ && ++kernel_turn_ % kKernelTurn == 0;
    if (datagram_->readable() && !kernel_first) {
      empty_looks_ = 0;
      size_t copied = 0;
      // One that cannot be copied is lost, as in udp_recvmsg().
      const bool faults =
          would_fault(pieces(message), 0, std::min<size_t>(datagram_->next_bytes(), *total));
      auto datagram = datagram_->receive(faults ? std::span<const iovec>() : pieces(message),
                                         (flags & MSG_PEEK) != 0, &copied);
      stack.flush();
      if (faults) return Error{EFAULT};
      message.msg_flags = copied < datagram->bytes ? MSG_TRUNC : 0;
      message.msg_namelen = name_room;
      if (message.msg_name != nullptr) {
        sockaddr_storage storage;
        const socklen_t real = show_address(datagram->from, family_, storage);
        const socklen_t fits = std::min(name_room, real);
        if (!is_user_memory(message.msg_name, fits)) return Error{EFAULT};
        std::memcpy(message.msg_name, &storage, fits);
        message.msg_namelen = real;
      }
      message.msg_controllen = control_room;
      write_receive_control(message, options_, *datagram, interface_index(), answering(*datagram));
      return (flags & MSG_TRUNC) != 0 ? size_t{datagram->bytes} : copied;
    }
    if (kernel_ready_ || (!may_block && (++empty_looks_ < kBusyLooks ||
                                         monotonic_ns() - kernel_checked_ns_ >= kKernelCheckNs))) {
      auto got = receive_datagram_from_kernel(message, flags);
      if (got || got.error() != EAGAIN) return got;
    }
    if (datagram_->readable()) continue;
    // The kernel looks for that only when it waits (__skb_wait_for_more_packets()).
    if (shut_read_ && may_block) {
      message.msg_namelen = 0;
      message.msg_controllen = 0;
      message.msg_flags = 0;
      return size_t{0};
    }
    auto waited = wait_for(EPOLLIN | EPOLLRDHUP, may_block, deadline, is_next);
    if (!waited) return Error{waited.error()};
    if (datagram_ == nullptr) return Error{EBADF};
  }
}

}  // namespace underpass
