// socket.cpp - the Socket class: checks what it is given, asks the stack or the kernel, throws
#include "stack/socket.h"

#include <fcntl.h>
#include <linux/can.h>
#include <poll.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "stack/clock.h"
#include "stack/socket_file.h"
#include "stack/socket_handle.h"

namespace underpass {

namespace {

constexpr int kTypeFlags = SOCK_NONBLOCK | SOCK_CLOEXEC;
constexpr int kReceiveFlags =
    MSG_PEEK | MSG_DONTWAIT | MSG_WAITALL | MSG_TRUNC | MSG_OOB | MSG_ERRQUEUE;
constexpr int kSendFlags =
    MSG_DONTWAIT | MSG_MORE | MSG_OOB | MSG_DONTROUTE | MSG_CONFIRM | MSG_EOR | MSG_NOSIGNAL;
// Larger results of recv() are received into memory that is not touched before, and copied.
constexpr std::int64_t kDirectBytes = 256 * 1024;
constexpr std::int64_t kMsPerS = 1000;
// What is longer is for ever, and does not overflow on the way to the kernel.
constexpr std::int64_t kLongestLimitMs = kMsPerS * 1'000'000'000;

// A call of libc: -1 and errno.
Result<size_t> from_call(ssize_t result) {
  if (result < 0) return Error{errno};
  return static_cast<size_t>(result);
}

Result<void> done_or_errno(int result) {
  if (result < 0) return Error{errno};
  return {};
}

[[noreturn]] void fail(const std::string& operation, int error) { throw IOError(error, operation); }

template <class T>
void check(const Result<T>& result, const std::string& operation) {
  if (!result) fail(operation, result.error());
}

// A call in progress. Throws where the socket is closed.
class Call {
 public:
  Call(SocketHandle& handle, const char* operation) : handle_(handle) {
    if (!handle_.enter()) fail(std::string(operation) + ": the socket is closed", EBADF);
  }
  ~Call() { handle_.leave(); }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

 private:
  SocketHandle& handle_;
};

// `bypass` of the file, or `kernel` with the descriptor.
template <class Bypass, class Kernel>
auto either(SocketHandle& handle, Bypass bypass, Kernel kernel) {
  auto done = handle.on_file(bypass);
  return done ? std::move(*done) : kernel(handle.fd());
}

void check_flags(const char* operation, int flags, int known) {
  if ((flags & ~known) == 0) return;
  char text[32];
  std::snprintf(text, sizeof text, "%#x", static_cast<unsigned>(flags & ~known));
  fail(std::string(operation) + ": unknown flags " + text, EINVAL);
}

size_t check_size(const char* operation, std::int64_t bufsize, std::int64_t most) {
  if (bufsize < 1 || bufsize > most) {
    fail(std::string(operation) + ": bufsize " + std::to_string(bufsize) + " is not in 1 to " +
             std::to_string(most),
         EINVAL);
  }
  return static_cast<size_t>(bufsize);
}

// The room of a *_into function.
size_t room_of(const char* operation, const MutableBytes& buffer, std::int64_t bufsize) {
  const auto most = static_cast<std::int64_t>(std::min<size_t>(buffer.size(), INT_MAX));
  if (bufsize < 0) bufsize = static_cast<std::int64_t>(std::min<size_t>(buffer.size(), INT64_MAX));
  return check_size(operation, bufsize, most);
}

bool is_nonblocking(SocketHandle& handle) {
  const Result<int> flags = either(
      handle, [](SocketFile& file) UP_NO_THREAD_SAFETY { return file.fcntl_flags(F_GETFL, 0); },
      [](int fd) -> Result<int> { return ::fcntl(fd, F_GETFL); });
  return flags && *flags >= 0 && (*flags & O_NONBLOCK) != 0;
}

// What an operation that may wait throws. `later`: the errno that says that it would have to wait.
[[noreturn]] void fail_to_wait(SocketHandle& handle, const std::string& operation, int error,
                               int flags = 0) {
  const bool would_wait = error == EAGAIN || error == EINPROGRESS || error == EALREADY;
  if (would_wait && (flags & MSG_DONTWAIT) == 0 && !is_nonblocking(handle)) {
    throw Timeout(operation + ": the time limit has passed");
  }
  fail(operation, error);
}

// SO_RCVTIMEO or SO_SNDTIMEO; 0: none.
uint64_t limit_ns(int fd, int option) {
  timeval limit{};
  socklen_t length = sizeof limit;
  if (::getsockopt(fd, SOL_SOCKET, option, &limit, &length) != 0) return 0;
  return static_cast<uint64_t>(limit.tv_sec) * kNsPerS +
         static_cast<uint64_t>(limit.tv_usec) * kNsPerUs;
}

// An operation in several calls of the kernel, each of which has the whole limit: whether it is
// over. Those that were not ended by the limit were ended by a signal.
class Limit {
 public:
  Limit(int fd, int option) : fd_(fd), option_(option) {}
  bool passed() const {
    const uint64_t limit = limit_ns(fd_, option_);
    return limit != 0 && monotonic_ns() - started_ns_ + kNsPerMs >= limit;
  }

 private:
  const int fd_;
  const int option_;
  const uint64_t started_ns_ = monotonic_ns();
};

Result<size_t> receive(SocketHandle& handle, msghdr& message, int flags) {
  return either(
      handle, [&](SocketFile& file) UP_NO_THREAD_SAFETY { return file.recvmsg(message, flags); },
      [&](int fd) { return from_call(::recvmsg(fd, &message, flags)); });
}

bool has_error(SocketHandle& handle) {
  return either(
      handle,
      [](SocketFile& file)
          UP_NO_THREAD_SAFETY { return (file.readiness() & (EPOLLERR | EPOLLHUP)) != 0; },
      [](int fd) {
        pollfd one{fd, 0, 0};
        return ::poll(&one, 1, 0) == 1;
      });
}

// All `bytes` of a stream, unless it ends, fails or may not wait before.
size_t receive_all(SocketHandle& handle, const char* operation, char* data, size_t bytes,
                   int flags) {
  const Limit limit(handle.fd(), SO_RCVTIMEO);
  const bool again = (flags & (MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT | MSG_OOB)) == 0;
  size_t done = 0;
  for (;;) {
    iovec piece{data + done, bytes - done};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    const auto got = receive(handle, message, flags | MSG_WAITALL);
    if (!got && done == 0) fail_to_wait(handle, operation, got.error(), flags);
    if (!got && got.error() != EINTR) return done;
    if (got && *got == 0) return done;
    if (got) done += *got;
    // A signal has cut it short, or what ends it: an error stays with the socket for the next call.
    if (!again || done == bytes || limit.passed() || has_error(handle)) return done;
    if (is_nonblocking(handle)) return done;
  }
}

// One datagram, or what a stream has; returns how long it is, which with MSG_TRUNC is more than the
// room. `from` may be null.
size_t receive_one(SocketHandle& handle, const char* operation, void* data, size_t bytes, int flags,
                   Address* from) {
  sockaddr_storage name;
  iovec piece{data, bytes};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_name = from == nullptr ? nullptr : &name;
  message.msg_namelen = from == nullptr ? 0 : sizeof name;
  const auto got = receive(handle, message, flags);
  if (!got) fail_to_wait(handle, operation, got.error(), flags);
  if (from != nullptr) *from = Address::from_sockaddr(name, message.msg_namelen);
  return *got;
}

// Receives by `into(data, bytes)` into a string of up to `bytes`.
template <class Into>
std::string receive_string(size_t bytes, Into into) {
  if (static_cast<std::int64_t>(bytes) <= kDirectBytes) {
    std::string data(bytes, '\0');
    data.resize(std::min<size_t>(into(data.data(), bytes), bytes));
    return data;
  }
  const std::unique_ptr<char[]> room(new char[bytes]);
  return std::string(room.get(), std::min<size_t>(into(room.get(), bytes), bytes));
}

Result<size_t> send_message(SocketHandle& handle, const void* data, size_t bytes, int flags,
                            const sockaddr_storage* to, socklen_t length) {
  iovec piece{const_cast<void*>(data), bytes};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_name = const_cast<sockaddr_storage*>(to);
  message.msg_namelen = length;
  return either(
      handle, [&](SocketFile& file) UP_NO_THREAD_SAFETY { return file.sendmsg(message, flags); },
      [&](int fd) { return from_call(::sendmsg(fd, &message, flags | MSG_NOSIGNAL)); });
}

int protocol_of(int family, int type, int proto) {
  if (proto != IPPROTO_TCP) return proto;
  if (family == AF_CAN) return type == SOCK_RAW ? CAN_RAW : proto;
  return type == SOCK_DGRAM ? static_cast<int>(IPPROTO_UDP) : proto;
}

std::string family_name(int family) {
  switch (family) {
    case AF_INET:
      return "AF_INET";
    case AF_INET6:
      return "AF_INET6";
    case AF_CAN:
      return "AF_CAN";
    default:
      return "family " + std::to_string(family);
  }
}

std::string type_name(int type) {
  switch (type) {
    case SOCK_STREAM:
      return "SOCK_STREAM";
    case SOCK_DGRAM:
      return "SOCK_DGRAM";
    case SOCK_RAW:
      return "SOCK_RAW";
    default:
      return "type " + std::to_string(type);
  }
}

std::unique_ptr<SocketHandle> open_socket(int family, int type, int proto) {
  const int kind = type & ~kTypeFlags;
  proto = protocol_of(family, kind, proto);
  const std::string what =
      "socket(" + family_name(family) + ", " + type_name(kind) + ", " + std::to_string(proto) + ")";
  if (family != AF_INET && family != AF_INET6 && family != AF_CAN) {
    fail(what + ": the family is none of AF_INET, AF_INET6, AF_CAN", EAFNOSUPPORT);
  }
  if (kind != SOCK_STREAM && kind != SOCK_DGRAM && kind != SOCK_RAW) {
    fail(what + ": the type is none of SOCK_STREAM, SOCK_DGRAM, SOCK_RAW", ESOCKTNOSUPPORT);
  }
  // Libc's own name otherwise: under the preloaded library that is its socket.
  const bool may_bypass = interface_is_named();
  const int fd = may_bypass ? sys::socket(family, type, proto) : ::socket(family, type, proto);
  if (fd < 0) {
    const int error = may_bypass ? -fd : errno;
    const bool no_can = family == AF_CAN && error == EAFNOSUPPORT;
    fail(no_can ? what + ": this kernel has no CAN" : what, error);
  }
  Ref<SocketFile> file;
  if (may_bypass && family == AF_INET && kind == SOCK_RAW) {
    file = SocketFile::create_raw(fd, type, proto);
  } else if (may_bypass) {
    file = SocketFile::create(fd, family, type, proto);
  }
  return std::make_unique<SocketHandle>(fd, family, kind, std::move(file));
}

int option_of(int fd, int option) {
  int value = 0;
  socklen_t length = sizeof value;
  if (::getsockopt(fd, SOL_SOCKET, option, &value, &length) != 0) {
    fail("adopting descriptor " + std::to_string(fd), errno);
  }
  return value;
}

std::unique_ptr<SocketHandle> adopt(int fd) {
  const int family = option_of(fd, SO_DOMAIN);
  const int type = option_of(fd, SO_TYPE);
  return std::make_unique<SocketHandle>(fd, family, type, nullptr);
}

}  // namespace

IOError::IOError(int error, const std::string& sentence)
    : std::system_error(error, std::generic_category(), sentence) {}
IOError::~IOError() = default;
Timeout::Timeout(const std::string& sentence) : IOError(ETIMEDOUT, sentence) {}
Timeout::~Timeout() = default;

// ---- its life

Socket::Socket(int family, int type, int proto, std::optional<int> fileno)
    : handle_(fileno ? adopt(*fileno) : open_socket(family, type, proto)) {}
Socket::Socket(std::unique_ptr<SocketHandle> handle) : handle_(std::move(handle)) {}
Socket::~Socket() = default;
Socket::Socket(Socket&& other) noexcept = default;
Socket& Socket::operator=(Socket&& other) noexcept = default;

SocketHandle& Socket::handle(const char* operation) const {
  if (handle_ == nullptr) fail(std::string(operation) + ": the socket was moved away", EBADF);
  return *handle_;
}

int Socket::fileno() const {
  return handle_ == nullptr || handle_->is_closed() ? -1 : handle_->fd();
}

void Socket::close() {
  if (handle_ != nullptr) handle_->close();
}

void Socket::bind(const Address& address) {
  SocketHandle& handle = this->handle("bind");
  const Call call(handle, "bind");
  sockaddr_storage storage;
  const socklen_t length = address.to_sockaddr(handle.family(), storage);
  const auto* at = reinterpret_cast<const sockaddr*>(&storage);
  check(either(
            handle, [&](SocketFile& file) UP_NO_THREAD_SAFETY { return file.bind(at, length); },
            [&](int fd) { return done_or_errno(::bind(fd, at, length)); }),
        "bind to " + address.to_string());
}

void Socket::bind_port(std::int64_t port) {
  switch (handle("bind").family()) {
    case AF_INET:
      return bind(Address("0.0.0.0", port));
    case AF_INET6:
      return bind(Address("::", port));
    default:
      fail("bind to port " + std::to_string(port) + ": a CAN socket has no ports", EINVAL);
  }
}

void Socket::listen(int maxlog) {
  SocketHandle& handle = this->handle("listen");
  const Call call(handle, "listen");
  check(either(
            handle, [&](SocketFile& file) UP_NO_THREAD_SAFETY { return file.listen(maxlog); },
            [&](int fd) { return done_or_errno(::listen(fd, maxlog)); }),
        "listen");
}

std::pair<Socket, Address> Socket::accept() {
  SocketHandle& handle = this->handle("accept");
  const Call call(handle, "accept");
  sockaddr_storage from{};
  socklen_t length = sizeof from;
  auto* at = reinterpret_cast<sockaddr*>(&from);
  auto by_kernel = [&](int fd) -> Result<Accepted> {
    const int made = ::accept(fd, at, &length);
    if (made < 0) return Error{errno};
    return Accepted{made, nullptr};
  };
  using Done = std::optional<Result<Accepted>>;
  // A socket that does not listen in the stack is the kernel's to refuse.
  Done done = either(
      handle,
      [&](SocketFile& file) UP_NO_THREAD_SAFETY -> Done {
        if (file.placement() == Placement::kUnplaced) return std::nullopt;
        return file.accept(at, &length, 0);
      },
      [](int) -> Done { return std::nullopt; });
  if (!done) done = by_kernel(handle.fd());
  if (!*done) fail_to_wait(handle, "accept", done->error());
  Accepted& accepted = **done;
  return {Socket(std::make_unique<SocketHandle>(accepted.fd, handle.family(), SOCK_STREAM,
                                                std::move(accepted.file))),
          Address::from_sockaddr(from, length)};
}

void Socket::connect(const Address& address) {
  SocketHandle& handle = this->handle("connect");
  const Call call(handle, "connect");
  sockaddr_storage storage;
  const socklen_t length = address.to_sockaddr(handle.family(), storage);
  const auto* at = reinterpret_cast<const sockaddr*>(&storage);
  using Done = std::optional<Result<void>>;
  Done done = either(
      handle, [&](SocketFile& file) UP_NO_THREAD_SAFETY { return file.connect(at, length); },
      [](int) -> Done { return std::nullopt; });
  if (!done) done = done_or_errno(::connect(handle.fd(), at, length));
  if (!*done) fail_to_wait(handle, "connect to " + address.to_string(), done->error());
}

void Socket::shutdown(int how) {
  SocketHandle& handle = this->handle("shutdown");
  const Call call(handle, "shutdown");
  check(either(
            handle, [&](SocketFile& file) UP_NO_THREAD_SAFETY { return file.shutdown(how); },
            [&](int fd) { return done_or_errno(::shutdown(fd, how)); }),
        "shutdown(" + std::to_string(how) + ")");
}

Address Socket::getsockname() const {
  SocketHandle& handle = this->handle("getsockname");
  const Call call(handle, "getsockname");
  sockaddr_storage name{};
  socklen_t length = sizeof name;
  auto* at = reinterpret_cast<sockaddr*>(&name);
  check(either(
            handle,
            [&](SocketFile& file) UP_NO_THREAD_SAFETY { return file.getsockname(at, &length); },
            [&](int fd) { return done_or_errno(::getsockname(fd, at, &length)); }),
        "getsockname");
  return Address::from_sockaddr(name, length);
}

Address Socket::getpeername() const {
  SocketHandle& handle = this->handle("getpeername");
  const Call call(handle, "getpeername");
  sockaddr_storage name{};
  socklen_t length = sizeof name;
  auto* at = reinterpret_cast<sockaddr*>(&name);
  check(either(
            handle,
            [&](SocketFile& file) UP_NO_THREAD_SAFETY { return file.getpeername(at, &length); },
            [&](int fd) { return done_or_errno(::getpeername(fd, at, &length)); }),
        "getpeername");
  return Address::from_sockaddr(name, length);
}

// ---- receiving

std::string Socket::recv(std::int64_t bufsize, int flags) {
  SocketHandle& handle = this->handle("recv");
  const Call call(handle, "recv");
  check_flags("recv", flags, kReceiveFlags);
  return receive_string(check_size("recv", bufsize, INT_MAX), [&](char* data, size_t bytes) {
    return handle.is_stream() ? receive_all(handle, "recv", data, bytes, flags)
                              : receive_one(handle, "recv", data, bytes, flags, nullptr);
  });
}

std::size_t Socket::recv_into(MutableBytes buffer, std::int64_t bufsize, int flags) {
  SocketHandle& handle = this->handle("recv_into");
  const Call call(handle, "recv_into");
  check_flags("recv_into", flags, kReceiveFlags);
  const size_t bytes = room_of("recv_into", buffer, bufsize);
  auto* const data = static_cast<char*>(buffer.data());
  return handle.is_stream() ? receive_all(handle, "recv_into", data, bytes, flags)
                            : receive_one(handle, "recv_into", data, bytes, flags, nullptr);
}

std::pair<std::string, Address> Socket::recvfrom(std::int64_t bufsize, int flags) {
  SocketHandle& handle = this->handle("recvfrom");
  const Call call(handle, "recvfrom");
  check_flags("recvfrom", flags, kReceiveFlags);
  Address from;
  std::string data =
      receive_string(check_size("recvfrom", bufsize, INT_MAX), [&](char* room, size_t bytes) {
        return receive_one(handle, "recvfrom", room, bytes, flags, &from);
      });
  return {std::move(data), std::move(from)};
}

std::pair<std::size_t, Address> Socket::recvfrom_into(MutableBytes buffer, std::int64_t bufsize,
                                                      int flags) {
  SocketHandle& handle = this->handle("recvfrom_into");
  const Call call(handle, "recvfrom_into");
  check_flags("recvfrom_into", flags, kReceiveFlags);
  const size_t bytes = room_of("recvfrom_into", buffer, bufsize);
  Address from;
  const size_t got = receive_one(handle, "recvfrom_into", buffer.data(), bytes, flags, &from);
  return {got, std::move(from)};
}

// ---- sending

std::size_t Socket::send(Bytes buffer, int flags) {
  SocketHandle& handle = this->handle("send");
  const Call call(handle, "send");
  check_flags("send", flags, kSendFlags);
  const auto sent = send_message(handle, buffer.data(), buffer.size(), flags, nullptr, 0);
  if (!sent) fail_to_wait(handle, "send", sent.error(), flags);
  return *sent;
}

void Socket::sendall(Bytes buffer, int flags) {
  SocketHandle& handle = this->handle("sendall");
  const Call call(handle, "sendall");
  check_flags("sendall", flags, kSendFlags);
  const Limit limit(handle.fd(), SO_SNDTIMEO);
  const auto* at = static_cast<const char*>(buffer.data());
  size_t left = buffer.size();
  do {
    const auto sent = send_message(handle, at, left, flags, nullptr, 0);
    if (!sent && sent.error() != EINTR) fail_to_wait(handle, "sendall", sent.error(), flags);
    if (sent) {
      at += *sent;
      left -= *sent;
    }
    if (left != 0 && limit.passed()) throw Timeout("sendall: the time limit has passed");
  } while (left != 0);
}

std::size_t Socket::sendto(Bytes buffer, const Address& address, int flags) {
  SocketHandle& handle = this->handle("sendto");
  const Call call(handle, "sendto");
  check_flags("sendto", flags, kSendFlags);
  sockaddr_storage to;
  const socklen_t length = address.to_sockaddr(handle.family(), to);
  const auto sent = send_message(handle, buffer.data(), buffer.size(), flags, &to, length);
  if (!sent) fail_to_wait(handle, "sendto " + address.to_string(), sent.error(), flags);
  return *sent;
}

// ---- options

void Socket::settimeout(std::optional<std::int64_t> limit_ms) {
  SocketHandle& handle = this->handle("settimeout");
  const Call call(handle, "settimeout");
  if (limit_ms && *limit_ms < 0) {
    fail("settimeout: " + std::to_string(*limit_ms) + " ms is below 0", EINVAL);
  }
  const std::int64_t ms = std::min(limit_ms.value_or(0), kLongestLimitMs);
  const timeval limit{ms / kMsPerS, ms % kMsPerS * kMsPerS};
  set_option(SOL_SOCKET, SO_RCVTIMEO, {&limit, sizeof limit});
  set_option(SOL_SOCKET, SO_SNDTIMEO, {&limit, sizeof limit});
  auto change = [&](auto flags_of) -> Result<int> {
    const Result<int> flags = flags_of(F_GETFL, 0);
    if (!flags) return flags;
    return flags_of(F_SETFL, limit_ms == 0 ? *flags | O_NONBLOCK : *flags & ~O_NONBLOCK);
  };
  check(either(
            handle,
            [&](SocketFile& file) {
              return change([&](int command, int flags)
                                UP_NO_THREAD_SAFETY { return file.fcntl_flags(command, flags); });
            },
            [&](int fd) {
              return change([&](int command, int flags) -> Result<int> {
                const int result = ::fcntl(fd, command, flags);
                if (result < 0) return Error{errno};
                return result;
              });
            }),
        "settimeout");
}

void Socket::set_option(int level, int name, Bytes value) {
  SocketHandle& handle = this->handle("setsockopt");
  const Call call(handle, "setsockopt");
  const auto length = static_cast<socklen_t>(value.size());
  check(either(
            handle,
            [&](SocketFile& file)
                UP_NO_THREAD_SAFETY { return file.setsockopt(level, name, value.data(), length); },
            [&](int fd) {
              return done_or_errno(::setsockopt(fd, level, name, value.data(), length));
            }),
        "setsockopt(" + std::to_string(level) + ", " + std::to_string(name) + ")");
}

void Socket::get_option(int level, int name, MutableBytes value) const {
  SocketHandle& handle = this->handle("getsockopt");
  const Call call(handle, "getsockopt");
  auto length = static_cast<socklen_t>(value.size());
  check(either(
            handle,
            [&](SocketFile& file)
                UP_NO_THREAD_SAFETY { return file.getsockopt(level, name, value.data(), &length); },
            [&](int fd) {
              return done_or_errno(::getsockopt(fd, level, name, value.data(), &length));
            }),
        "getsockopt(" + std::to_string(level) + ", " + std::to_string(name) + ")");
}

}  // namespace underpass
