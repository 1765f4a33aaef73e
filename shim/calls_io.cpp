// calls_io.cpp - every way to send and receive: all become sendmsg or recvmsg of a SocketFile
#include <algorithm>
#include <climits>
#include <cstring>
#include <optional>

#include "base/user_pointer.h"
#include "shim/fd_table.h"
#include "shim/passed_fds.h"
#include "shim/posix_border.h"
#include "shim/real.h"
#include "stack/clock.h"

namespace underpass {
namespace {

// Runs `bypass` under the lock if the fd is a socket of ours. Nothing: it is the kernel's.
template <class Bypass>
std::optional<Result<size_t>> on_socket(int fd, bool* is_stream, Bypass bypass) {
  HeldFile file(fd);
  SocketFile* const socket = file.socket();
  if (socket == nullptr) return std::nullopt;
  *is_stream = socket->is_stream_socket();
  return bypass(*socket);
}

template <class Kernel>
ssize_t send_message(int fd, const msghdr& message, int flags, Kernel kernel) {
  bool is_stream = false;
  const auto sent = on_socket(fd, &is_stream, [&](SocketFile& socket) UP_NO_THREAD_SAFETY {
    return socket.sendmsg(message, flags);
  });
  if (!sent) return kernel();
  return to_posix_after_write(*sent, is_stream, flags);
}

template <class Kernel>
ssize_t receive_message(int fd, msghdr& message, int flags, Kernel kernel) {
  bool is_stream = false;
  const auto got = on_socket(fd, &is_stream, [&](SocketFile& socket) UP_NO_THREAD_SAFETY {
    return socket.recvmsg(message, flags);
  });
  if (!got) return kernel();
  return to_posix(*got);
}

// What a call on one of ours does, where a call on another need not save a register for it.
template <class Serve>
[[gnu::noinline]] auto out_of_line(Serve serve) {
  return serve();
}

msghdr message_of(iovec* pieces, size_t count) {
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = count;
  return message;
}

// readv(2) and writev(2) say EINVAL where sendmsg(2) says EMSGSIZE.
bool bad_count(int count) { return count < 0 || count > IOV_MAX; }

// preadv2(2): a socket has no offset but -1, "the current one".
bool is_current_offset(off64_t offset) { return offset == -1; }

// kiocb_set_rw_flags() in include/linux/fs.h.
bool is_known_flag(int rwf_flags) {
  constexpr int kKnown = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND;
  return (rwf_flags & ~kKnown) == 0;
}

int message_flags(int rwf_flags) { return (rwf_flags & RWF_NOWAIT) != 0 ? MSG_DONTWAIT : 0; }

// read(2) of nothing is 0 whatever the state, where recv(2) of nothing waits (net/socket.c,
// sock_read_iter()). So are all calls with pieces (vfs_readv() and vfs_writev() in
// fs/read_write.c).
bool asks_for_nothing(const iovec* pieces, int count) {
  return is_user_memory(pieces, static_cast<size_t>(count) * sizeof *pieces) &&
         std::all_of(pieces, pieces + count, [](const iovec& one) { return one.iov_len == 0; });
}

ssize_t read_pieces(int fd, const iovec* pieces, int count, int flags) {
  if (bad_count(count)) return fail(EINVAL);
  if (asks_for_nothing(pieces, count)) return 0;
  msghdr message = message_of(const_cast<iovec*>(pieces), static_cast<size_t>(count));
  return receive_message(fd, message, flags, [&] { return real().readv(fd, pieces, count); });
}

ssize_t write_pieces(int fd, const iovec* pieces, int count, int flags) {
  if (bad_count(count)) return fail(EINVAL);
  if (asks_for_nothing(pieces, count)) return 0;
  const msghdr message = message_of(const_cast<iovec*>(pieces), static_cast<size_t>(count));
  return send_message(fd, message, flags, [&] { return real().writev(fd, pieces, count); });
}

// What has been received is gone, also where this fails (move_addr_to_user() in net/socket.c).
Result<void> give_address(const sockaddr_storage& from, socklen_t bytes, sockaddr* address,
                          socklen_t* length) {
  if (!is_user_object(length)) return Error{EFAULT};
  if (static_cast<int>(*length) < 0) return Error{EINVAL};
  const socklen_t fits = std::min(*length, bytes);
  if (!is_user_memory(address, fits)) return Error{EFAULT};
  if (fits != 0) std::memcpy(address, &from, fits);
  *length = bytes;
  return {};
}

// An address that no socket takes: longer than any, or empty for datagrams. sendmsg(2) would cut
// the one and take the other for none.
bool is_no_length(int fd, const sockaddr* address, socklen_t length) {
  if (address == nullptr) return false;
  if (length > sizeof(sockaddr_storage)) return true;
  if (length != 0) return false;
  HeldFile file(fd);
  const SocketFile* const socket = file.socket();
  return socket != nullptr && !socket->is_stream_socket();
}

struct HowToTransfer {
  off64_t offset;
  int rwf_flags;
};

ssize_t read_with_flags(int fd, const iovec* pieces, int count, HowToTransfer how) {
  if (!is_current_offset(how.offset)) return fail(ESPIPE);
  if (bad_count(count)) return fail(EINVAL);
  if (asks_for_nothing(pieces, count)) return 0;
  if (!is_known_flag(how.rwf_flags)) return fail(EOPNOTSUPP);
  return read_pieces(fd, pieces, count, message_flags(how.rwf_flags));
}

ssize_t write_with_flags(int fd, const iovec* pieces, int count, HowToTransfer how) {
  if (!is_current_offset(how.offset)) return fail(ESPIPE);
  if (bad_count(count)) return fail(EINVAL);
  if (asks_for_nothing(pieces, count)) return 0;
  if (!is_known_flag(how.rwf_flags)) return fail(EOPNOTSUPP);
  return write_pieces(fd, pieces, count, message_flags(how.rwf_flags));
}

// Behind such a message sendmmsg(2) sends no other (__sys_sendmmsg() in net/socket.c). A probe
// sends nothing, whatever it says (ip_make_skb() in net/ipv4/ip_output.c).
bool leaves_bytes(int fd, const mmsghdr& sent, int flags) {
  const msghdr& message = sent.msg_hdr;
  size_t asked = 0;
  for (size_t i = 0; i < message.msg_iovlen; ++i) asked += message.msg_iov[i].iov_len;
  if (asked > sent.msg_len) return true;
  // MSG_PROBE, by libc's name for it.
  if (asked == 0 || (flags & MSG_PROXY) == 0) return false;
  HeldFile file(fd);
  const SocketFile* const socket = file.socket();
  return socket != nullptr && !socket->is_stream_socket();
}

// True when the fd is a connection or datagram socket of the stack, or was one, and has an error of
// it.
bool is_bypassed(int fd) {
  HeldFile file(fd);
  const SocketFile* const socket = file.socket();
  return socket != nullptr &&
         (socket->placement() != Placement::kUnplaced || socket->has_pending_error());
}

}  // namespace
}  // namespace underpass

using namespace underpass;

// What the kernel serves is handed on before anything is made for ours: see `scripts/bench --only
// cost`.

UP_EXPORT ssize_t send(int fd, const void* data, size_t size, int flags) {
  if (!FdTable::maybe_ours(fd)) return real().send(fd, data, size, flags);
  iovec piece{const_cast<void*>(data), size};
  return send_message(fd, message_of(&piece, 1), flags,
                      [&] { return real().send(fd, data, size, flags); });
}

UP_EXPORT ssize_t sendto(int fd, const void* data, size_t size, int flags, const sockaddr* address,
                         socklen_t length) {
  if (!FdTable::maybe_ours(fd) || is_no_length(fd, address, length)) {
    return real().sendto(fd, data, size, flags, address, length);
  }
  iovec piece{const_cast<void*>(data), size};
  msghdr message = message_of(&piece, 1);
  message.msg_name = const_cast<sockaddr*>(address);
  message.msg_namelen = address == nullptr ? 0 : length;
  return send_message(fd, message, flags,
                      [&] { return real().sendto(fd, data, size, flags, address, length); });
}

UP_EXPORT ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  if (!is_user_object(message) || !FdTable::maybe_ours(fd)) {
    if (is_user_object(message) && message->msg_controllen != 0) move_out_passed(*message);
    return real().sendmsg(fd, message, flags);
  }
  return send_message(fd, *message, flags, [&] { return real().sendmsg(fd, message, flags); });
}

UP_EXPORT int sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
  const bool readable = is_user_memory(messages, count * sizeof *messages);
  if (!FdTable::maybe_ours(fd) || !readable) {
    for (unsigned i = 0; readable && i < count; ++i) move_out_passed(messages[i].msg_hdr);
    return real().sendmmsg(fd, messages, count, flags);
  }
  int done = 0;
  while (done < static_cast<int>(std::min<unsigned>(count, IOV_MAX))) {
    const ssize_t sent = ::sendmsg(fd, &messages[done].msg_hdr, flags);
    if (sent < 0) break;
    messages[done].msg_len = static_cast<unsigned>(sent);
    if (leaves_bytes(fd, messages[done++], flags)) break;
  }
  return done == 0 && count != 0 ? -1 : done;
}

UP_EXPORT ssize_t recv(int fd, void* data, size_t size, int flags) {
  if (!FdTable::maybe_ours(fd)) return real().recv(fd, data, size, flags);
  iovec piece{data, size};
  msghdr message = message_of(&piece, 1);
  return receive_message(fd, message, flags, [&] { return real().recv(fd, data, size, flags); });
}

UP_EXPORT ssize_t recvfrom(int fd, void* data, size_t size, int flags, sockaddr* address,
                           socklen_t* length) {
  if (!FdTable::maybe_ours(fd)) return real().recvfrom(fd, data, size, flags, address, length);
  iovec piece{data, size};
  msghdr message = message_of(&piece, 1);
  sockaddr_storage from;
  message.msg_name = address == nullptr ? nullptr : &from;
  message.msg_namelen = address == nullptr ? 0 : sizeof from;
  bool kernels = false;
  const ssize_t got = receive_message(fd, message, flags, [&] {
    kernels = true;
    return real().recvfrom(fd, data, size, flags, address, length);
  });
  if (kernels || got < 0 || address == nullptr) return got;
  const auto given = give_address(from, message.msg_namelen, address, length);
  return given ? got : fail(given.error());
}

UP_EXPORT ssize_t recvmsg(int fd, msghdr* message, int flags) {
  if (!is_user_object(message)) return real().recvmsg(fd, message, flags);
  if (!FdTable::maybe_ours(fd)) {
    const ssize_t got = real().recvmsg(fd, message, flags);
    if (got >= 0 && message->msg_controllen != 0) adopt_received(*message);
    return got;
  }
  return receive_message(fd, *message, flags, [&] { return real().recvmsg(fd, message, flags); });
}

UP_EXPORT int recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  if (!FdTable::maybe_ours(fd) || !is_user_memory(messages, count * sizeof *messages)) {
    return real().recvmmsg(fd, messages, count, flags, timeout);
  }
  if (timeout != nullptr && (timeout->tv_sec < 0 || timeout->tv_nsec < 0 ||
                             timeout->tv_nsec >= static_cast<long>(kNsPerS))) {
    return fail(EINVAL);
  }
  const Deadline deadline = timeout == nullptr
                                ? Deadline::never()
                                : Deadline::in_ns(static_cast<uint64_t>(timeout->tv_sec) * kNsPerS +
                                                  static_cast<uint64_t>(timeout->tv_nsec));
  bool is_stream = false;
  const auto done = on_socket(fd, &is_stream, [&](SocketFile& socket) UP_NO_THREAD_SAFETY {
    return socket.recvmmsg(messages, std::min<size_t>(count, IOV_MAX), flags, deadline);
  });
  if (!done) return real().recvmmsg(fd, messages, count, flags, timeout);
  if (timeout != nullptr) {
    const uint64_t now = monotonic_ns();
    const uint64_t left = deadline.at_ns > now ? deadline.at_ns - now : 0;
    *timeout = {static_cast<time_t>(left / kNsPerS), static_cast<long>(left % kNsPerS)};
  }
  return static_cast<int>(to_posix(*done));
}

UP_EXPORT ssize_t read(int fd, void* data, size_t size) {
  if (size == 0 || !FdTable::maybe_ours(fd)) return real().read(fd, data, size);
  return out_of_line([=] {
    iovec piece{data, size};
    msghdr message = message_of(&piece, 1);
    return receive_message(fd, message, 0, [&] { return real().read(fd, data, size); });
  });
}

UP_EXPORT ssize_t write(int fd, const void* data, size_t size) {
  if (!FdTable::maybe_ours(fd)) return real().write(fd, data, size);
  return out_of_line([=] {
    iovec piece{const_cast<void*>(data), size};
    return send_message(fd, message_of(&piece, 1), 0, [&] { return real().write(fd, data, size); });
  });
}

UP_EXPORT ssize_t readv(int fd, const iovec* pieces, int count) {
  if (!FdTable::maybe_ours(fd)) return real().readv(fd, pieces, count);
  return read_pieces(fd, pieces, count, 0);
}

UP_EXPORT ssize_t writev(int fd, const iovec* pieces, int count) {
  if (!FdTable::maybe_ours(fd)) return real().writev(fd, pieces, count);
  return write_pieces(fd, pieces, count, 0);
}

UP_EXPORT ssize_t preadv2(int fd, const iovec* pieces, int count, off_t offset, int flags) {
  if (!is_bypassed(fd)) return real().preadv2(fd, pieces, count, offset, flags);
  return read_with_flags(fd, pieces, count, {offset, flags});
}

UP_EXPORT ssize_t preadv64v2(int fd, const iovec* pieces, int count, off64_t offset, int flags) {
  if (!is_bypassed(fd)) return real().preadv64v2(fd, pieces, count, offset, flags);
  return read_with_flags(fd, pieces, count, {offset, flags});
}

UP_EXPORT ssize_t pwritev2(int fd, const iovec* pieces, int count, off_t offset, int flags) {
  if (!is_bypassed(fd)) return real().pwritev2(fd, pieces, count, offset, flags);
  return write_with_flags(fd, pieces, count, {offset, flags});
}

UP_EXPORT ssize_t pwritev64v2(int fd, const iovec* pieces, int count, off64_t offset, int flags) {
  if (!is_bypassed(fd)) return real().pwritev64v2(fd, pieces, count, offset, flags);
  return write_with_flags(fd, pieces, count, {offset, flags});
}
