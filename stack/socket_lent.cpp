// socket_lent.cpp - a connection that the kernel has, and may give back (decision 018)
//
// Every call on it is still ours and none waits in the kernel, so that under the stack mutex nobody
// uses the kernel's connection: then it can be taken away.
#include <netinet/tcp.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/log.h"
#include "base/user_pointer.h"
#include "stack/clock.h"
#include "stack/process.h"
#include "stack/socket_file.h"
#include "stack/socket_parts.h"

namespace underpass {

namespace {

constexpr size_t kMostPieces = 1024;  // UIO_MAXIOV

// What is left of a message of which `done` bytes have been moved.
class Rest {
 public:
  Rest(const msghdr& whole, size_t done) : message_(whole) {
    if (done == 0) return;
    for (size_t i = 0; i < whole.msg_iovlen; ++i) {
      const iovec& piece = whole.msg_iov[i];
      const size_t skip = std::min(done, piece.iov_len);
      done -= skip;
      if (piece.iov_len == skip) continue;
      left_.push_back({static_cast<uint8_t*>(piece.iov_base) + skip, piece.iov_len - skip});
    }
    message_.msg_iov = left_.data();
    message_.msg_iovlen = left_.size();
    message_.msg_control = nullptr;
    message_.msg_controllen = 0;
  }
  Rest(const Rest&) = delete;
  Rest& operator=(const Rest&) = delete;
  msghdr& message() { return message_; }
  bool empty() const { return message_.msg_iovlen == 0; }

 private:
  msghdr message_;
  std::vector<iovec> left_;
};

// SIZE_MAX: no memory, or too many; the kernel has the right errno.
size_t total_of(const msghdr& message) {
  if (message.msg_iovlen > kMostPieces ||
      !is_user_memory(message.msg_iov, message.msg_iovlen * sizeof(iovec))) {
    return SIZE_MAX;
  }
  size_t total = 0;
  for (size_t i = 0; i < message.msg_iovlen; ++i) total += message.msg_iov[i].iov_len;
  return total;
}

Result<size_t> all_of(size_t done, const Result<size_t>& rest) {
  if (!rest && done != 0) return done;
  if (!rest) return rest;
  return done + *rest;
}

}  // namespace

// The connection is somewhere else than when the call began, of whose bytes `done` have been moved.
Result<size_t> SocketFile::go_on(const msghdr& message, int flags, size_t done, bool sends) {
  if (placement_ != Placement::kLent && placement_ != Placement::kStream) {
    return go_on_in_kernel(message, flags, done, sends);
  }
  Rest rest(message, done);
  if (rest.empty()) return done;
  return all_of(done,
                sends ? sendmsg(rest.message(), flags) : receive(rest.message(), flags, done != 0));
}

Result<size_t> SocketFile::send_lent(const msghdr& message, int flags) {
  const Call call(*this);
  const size_t total = total_of(message);
  const bool may_block = !nonblocking_ && (flags & MSG_DONTWAIT) == 0;
  const Deadline deadline = may_block ? send_deadline() : Deadline::never();
  for (size_t done = 0;;) {
    Rest rest(message, done);
    const long sent = sys::sendmsg(fd_, &rest.message(), flags | MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) done += static_cast<size_t>(sent);
    if (sent >= 0 && (done >= total || !may_block)) return done;
    if (sent < 0 && (sent != -EAGAIN || !may_block)) {
      return all_of(done, Error{static_cast<int>(-sent)});
    }
    auto waited = wait_beside(0, POLLOUT, deadline, done != 0);
    if (!waited) return all_of(done, Error{waited.error()});
    if (placement_ != Placement::kLent) return go_on(message, flags, done, true);
  }
}

Result<size_t> SocketFile::receive_lent(msghdr& message, int flags, bool is_next) {
  const Call call(*this);
  const size_t total = total_of(message);
  const bool plain = (flags & (MSG_OOB | MSG_ERRQUEUE)) == 0;
  const bool may_block = plain && !nonblocking_ && (flags & MSG_DONTWAIT) == 0;
  const Deadline deadline = may_block ? receive_deadline() : Deadline::never();
  const size_t wanted =
      (flags & MSG_WAITALL) != 0 ? total : std::min<size_t>(total, options_.tcp.receive_low_water);
  for (size_t done = 0;;) {
    if ((flags & MSG_PEEK) != 0) done = 0;  // a peek starts over
    Rest rest(message, done);
    const long got = sys::recvmsg(fd_, &rest.message(), flags | MSG_DONTWAIT);
    if (got >= 0) {
      if (done == 0) message = rest.message();
      done += static_cast<size_t>(got);
      if (got == 0 || done >= wanted || !may_block) return done;
    } else if (got != -EAGAIN || !may_block) {
      return all_of(done, Error{static_cast<int>(-got)});
    }
    const bool some = is_next || done != 0;
    auto waited = wait_beside(EPOLLIN | EPOLLRDHUP, POLLIN | POLLRDHUP, deadline, some);
    if (!waited) return all_of(done, Error{waited.error()});
    if (placement_ != Placement::kLent) return go_on(message, flags, done, false);
  }
}

Result<size_t> SocketFile::wait_for_lent_room() {
  constexpr size_t kSome = 64 * 1024;
  const Deadline deadline = nonblocking_ ? Deadline::never() : send_deadline();
  for (;;) {
    pollfd one{fd_, POLLOUT, 0};
    timespec zero{};
    if (placement_ != Placement::kLent || sys::ppoll(&one, 1, &zero, nullptr) != 0) return kSome;
    if (nonblocking_) return Error{EAGAIN};
    auto waited = wait_beside(0, POLLOUT, deadline, false);
    if (!waited) return Error{waited.error()};
  }
}

// ---- there and back

Result<void> SocketFile::lend() {
  if (placement_ != Placement::kStream) return Error{EINVAL};
  Process& process = Process::instance();
  // Another process uses it, perhaps: it does not come back.
  const bool shared = process.family().may_share(forks_before_);
  const FourTuple flow = stream_->flow();
  if (!shared) keep_buffers_shown();
  auto moved = give_to_kernel(!shared);
  if (!moved) return moved;
  if (shared) {
    place(Placement::kKernel);
    return {};
  }
  became_lent(flow);
  place(Placement::kLent);
  return {};
}

void SocketFile::keep_buffers_shown() {
  if (shown_buffers_) return;
  const int send_bytes = read_option(fd_, SOL_SOCKET, SO_SNDBUF);
  const int locks = read_option(fd_, SOL_SOCKET, SO_BUF_LOCK);
  if (send_bytes >= 0 && locks >= 0) shown_buffers_ = {send_bytes, locks};
}

// Whatever has been set is what there is.
void SocketFile::note_buffers_set(int name) {
  if (!shown_buffers_) return;
  constexpr int kSendLock = 1;  // SOCK_SNDBUF_LOCK
  constexpr int kReceiveLock = 2;
  switch (name) {
    case SO_SNDBUF:
    case SO_SNDBUFFORCE:
      shown_buffers_->send_bytes = read_option(fd_, SOL_SOCKET, SO_SNDBUF);
      shown_buffers_->locks |= kSendLock;
      break;
    case SO_RCVBUF:
    case SO_RCVBUFFORCE:
      shown_buffers_->locks |= kReceiveLock;
      break;
    case SO_BUF_LOCK:
      shown_buffers_->locks = read_option(fd_, SOL_SOCKET, SO_BUF_LOCK);
      break;
    default:
      break;
  }
}

void SocketFile::restore_buffers() {
  if (!shown_buffers_) return;
  // The kernel doubles it.
  const int bytes = shown_buffers_->send_bytes / 2;
  if (sys::setsockopt(fd_, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0) {
    sys::setsockopt(fd_, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  }
  sys::setsockopt(fd_, SOL_SOCKET, SO_BUF_LOCK, &shown_buffers_->locks,
                  sizeof shown_buffers_->locks);
  shown_buffers_.reset();
}

void SocketFile::became_lent(const FourTuple& flow) {
  lent_flow_ = flow;
  forks_at_loan_ = Process::instance().family().forks();
  Process::instance().relocation().add(*this);
}

Ref<SocketFile> SocketFile::borrow(int fd, int flags) {
  Process& process = Process::instance();
  // The child of a fork has no stack until it makes a socket.
  if (process.stack() == nullptr || options_.kernel_only || placement_ != Placement::kListener) {
    return nullptr;
  }
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  auto* const address = reinterpret_cast<sockaddr*>(&storage);
  if (sys::getsockname(fd, address, &length) < 0) return nullptr;
  const auto local = SocketAddress::from_sockaddr(address, length);
  length = sizeof storage;
  if (!local || !process.is_interface_address(local->ip)) return nullptr;
  if (sys::getpeername(fd, address, &length) < 0) return nullptr;
  const auto remote = SocketAddress::from_sockaddr(address, length);
  if (!remote || !is_carried(remote->ip)) return nullptr;
  const auto route = process.stack()->host().route(remote->ip, local->ip);
  if (!route || !route->through_interface) return nullptr;
  const Ref<SocketFile> file(new SocketFile(fd, family_, SOCK_STREAM, IPPROTO_TCP));
  file->nonblocking_ = (flags & SOCK_NONBLOCK) != 0;
  file->options_ = options_;
  file->options_.touched.clear();  // the kernel has given it all that
  file->accepted_ = file->connect_reported_ = file->connect_succeeded_ = true;
  file->placement_ = Placement::kLent;
  file->became_lent({*local, *remote});
  // What is queued to be sent has to fit when it comes back.
  const int limit = static_cast<int>(kMaxReturningBytes / 2);
  if (options_.tcp.send_buffer_bytes == 0) {
    file->keep_buffers_shown();
    sys::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &limit, sizeof limit);
  }
  if (!process.relocation().away()) static_cast<void>(file->move_in().ok());
  return file;
}

void SocketFile::stay_in_kernel() {
  if (placement_ != Placement::kLent) return;
  Process::instance().relocation().remove(*this);
  restore_buffers();
  place(Placement::kKernel);
}

bool SocketFile::may_come_back() const {
  const Family& family = Process::instance().family();
  return !options_.kernel_only && !shut_read_ && family.forks() == forks_at_loan_ &&
         !family.may_share(forks_before_);
}

// What the kernel says of the end of its own connection is not for the program: neither its sets
// nor a signal.
Result<void> SocketFile::move_in() {
  if (placement_ != Placement::kLent) return Error{EINVAL};
  if (!may_come_back()) {
    stay_in_kernel();
    return Error{EPERM};
  }
  int queued = 0;
  if (sys::ioctl(fd_, TIOCOUTQ, &queued) == 0 && !TcpEndpoint::has_room_for(queued)) {
    return Error{EBUSY};
  }
  place(Placement::kMoving);
  const int flags = sys::fcntl(fd_, F_GETFL);
  if ((flags & O_ASYNC) != 0) sys::fcntl(fd_, F_SETFL, flags & ~O_ASYNC);
  Stack& stack = the_stack();
  auto taken = stack.host().move_in(fd_);
  auto stream = taken ? TcpEndpoint::adopt(stack, *taken, options_.tcp, fd_)
                      : Result<TcpEndpoint*>(Error{taken.error()});
  if ((flags & O_ASYNC) != 0) sys::fcntl(fd_, F_SETFL, flags);
  if (!stream) {
    // What has come meanwhile is in the rings.
    stack.forget_moved(lent_flow_);
    const bool back = !taken || stack.host().move_out(taken->state, taken->bytes, fd_).ok();
    const bool lost = !back || stream.error() == ETIMEDOUT;
    if (lost) log_write(LogLevel::warning, "a connection is lost in the move");
    place(Placement::kLent);
    if (lost) stay_in_kernel();
    return Error{stream.error()};
  }
  Process::instance().relocation().remove(*this);
  stream_ = *stream;
  stream_->set_owner(this, fd_);
  connect_reported_ = connect_succeeded_ = true;
  place(Placement::kStream);
  notify(stream_->readiness());
  stack.flush();
  return {};
}

}  // namespace underpass
