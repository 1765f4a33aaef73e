// calls_splice.cpp - splice(2) and sendfile(2): bytes between a file or a pipe and a bypassed
// socket
//
// The kernel lends pages; here the bytes are copied. A byte leaves its place only when it has been
// taken at the other: of a socket they are peeked at first, and of a pipe no more is read than the
// socket has room for. tee(2) and vmsplice(2) know pipes alone and are the kernel's.
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

#include "base/limits.h"
#include "base/user_pointer.h"
#include "shim/fd_table.h"
#include "shim/posix_border.h"
#include "shim/real.h"
#include "stack/clock.h"
#include "stack/no_cancellation.h"

namespace underpass {
namespace {

constexpr size_t kPieceBytes = 32 * 1024;  // on the stack of a thread of the program

// A connection of the stack, or a socket that might become one.
bool is_bypassed(int fd, bool* is_stream) {
  HeldFile file(fd);
  const SocketFile* const socket = file.socket();
  if (socket == nullptr || socket->placement() == Placement::kUnplaced) return false;
  *is_stream = socket->placement() == Placement::kStream || socket->placement() == Placement::kLent;
  return true;
}

// One that was opened for that (O_RDONLY, O_WRONLY).
bool is_pipe(int fd, int mode) {
  struct stat about {};
  if (sys::call(SYS_fstat, fd, sys::arg(&about)) != 0 || !S_ISFIFO(about.st_mode)) return false;
  const int opened = sys::fcntl(fd, F_GETFL) & O_ACCMODE;
  return opened == mode || opened == O_RDWR;
}

bool is_nonblocking(int fd) {
  const int flags = sys::fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_NONBLOCK) != 0;
}

// Until the pipe has room, or something in it. False, and errno: not allowed to wait, or a signal.
bool wait_for_pipe(int fd, short events, bool may_block) {
  for (;;) {
    pollfd one{fd, events, 0};
    forget_interruption();
    const int ready = real().poll(&one, 1, may_block ? -1 : 0);
    if (ready > 0) return true;
    if (ready < 0 && errno == EINTR && interrupted_call_restarts()) continue;
    if (ready == 0) errno = EAGAIN;
    return false;
  }
}

// What a pipe takes or gives at once. -EAGAIN: nothing.
long write_at_once(int fd, const iovec& piece) {
  return sys::call(SYS_pwritev2, fd, sys::arg(&piece), 1, -1, -1, RWF_NOWAIT);
}
long read_at_once(int fd, const iovec& piece) {
  return sys::call(SYS_preadv2, fd, sys::arg(&piece), 1, -1, -1, RWF_NOWAIT);
}

msghdr message_of(iovec& piece) {
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  return message;
}

// ---- from a socket into a pipe

struct Moved {
  Result<size_t> bytes;  // 0: the end of the stream
  bool pipe_is_full = false;
};

// One piece.
Moved move_to_pipe(SocketFile& socket, int pipe, size_t count, int flags) UP_REQUIRES(stack_mutex) {
  char bytes[kPieceBytes];
  iovec piece{bytes, std::min(count, sizeof bytes)};
  msghdr message = message_of(piece);
  const auto seen = socket.recvmsg(message, MSG_PEEK | flags);
  if (!seen || *seen == 0) return {seen};
  piece.iov_len = *seen;
  const long written = write_at_once(pipe, piece);
  if (written < 0) return {Error{static_cast<int>(-written)}, written == -EAGAIN};
  piece = {nullptr, static_cast<size_t>(written)};
  message = message_of(piece);
  return {socket.recvmsg(message, MSG_TRUNC | MSG_DONTWAIT)};
}

Moved move_from_socket(int in, int pipe, size_t count, int flags) {
  HeldFile file(in);
  SocketFile* const socket = file.socket();
  if (socket == nullptr) return {Error{EBADF}};
  return move_to_pipe(*socket, pipe, count, flags);
}

ssize_t splice_to_pipe(int in, int pipe, size_t count, bool may_wait_for_pipe) {
  size_t done = 0;
  while (done < count) {
    // Later on another thread may fill it.
    const bool may_wait = may_wait_for_pipe && done == 0;
    if (!wait_for_pipe(pipe, POLLOUT, may_wait)) break;
    const Moved moved = move_from_socket(in, pipe, count - done, done == 0 ? 0 : MSG_DONTWAIT);
    if (moved.pipe_is_full && may_wait) continue;
    if (!moved.bytes) {
      errno = moved.bytes.error();
      break;
    }
    if (*moved.bytes == 0) return static_cast<ssize_t>(done);
    done += *moved.bytes;
  }
  return done != 0 ? static_cast<ssize_t>(done) : -1;
}

// ---- from a pipe into a socket

// Sends all of it, however long that takes: it is in no pipe any more.
Result<size_t> send_all(SocketFile& socket, iovec piece, int flags) UP_REQUIRES(stack_mutex) {
  size_t done = 0;
  while (piece.iov_len != 0) {
    const auto sent = socket.sendmsg(message_of(piece), flags);
    if (!sent && sent.error() == EINTR) continue;
    if (!sent) return done != 0 ? Result<size_t>(done) : sent;
    done += *sent;
    piece = {static_cast<char*>(piece.iov_base) + *sent, piece.iov_len - *sent};
  }
  return done;
}

Result<size_t> move_from_pipe(SocketFile& socket, int pipe, size_t count, int flags)
    UP_REQUIRES(stack_mutex) {
  const auto room = socket.wait_for_room();
  if (!room) return room;
  char bytes[kPieceBytes];
  const iovec piece{bytes, std::min({count, *room, sizeof bytes})};
  const long got = read_at_once(pipe, piece);
  if (got < 0) return Error{static_cast<int>(-got)};
  return send_all(socket, {bytes, static_cast<size_t>(got)}, flags);
}

ssize_t splice_from_pipe(int pipe, int out, size_t count, unsigned flags) {
  const bool may_wait = (flags & SPLICE_F_NONBLOCK) == 0;
  size_t done = 0;
  while (done < count) {
    // splice_to_socket() in fs/splice.c: what is there, and no waiting for more.
    if (!wait_for_pipe(pipe, POLLIN, may_wait && done == 0)) break;
    int unread = 0;
    sys::ioctl(pipe, FIONREAD, &unread);
    const auto there = static_cast<size_t>(unread);
    const size_t most = std::min({count - done, kPieceBytes, there});
    const bool more = (flags & SPLICE_F_MORE) != 0 || there > most;
    Result<size_t> moved = Error{EBADF};
    {
      HeldFile file(out);
      SocketFile* const socket = file.socket();
      if (socket != nullptr) moved = move_from_pipe(*socket, pipe, most, more ? MSG_MORE : 0);
    }
    if (!moved && done == 0) return to_posix_after_write(moved, true, 0);
    if (!moved) break;
    if (*moved == 0) return static_cast<ssize_t>(done);
    done += *moved;
  }
  return done != 0 ? static_cast<ssize_t>(done) : -1;
}

// ---- from a file into a socket

// The file is read where the kernel would have lent its pages.
class FileSender {
 public:
  FileSender(int out, int in, off64_t* offset) : out_(out), in_(in), offset_(offset) {}

  // Never inlined: what is noexcept cannot be unwound, and the guard must be, by a jump.
  [[gnu::noinline]] ssize_t send(size_t count) {
    const NoCancellation guard;
    if (offset_ != nullptr && !is_user_object(offset_)) return fail(EFAULT);
    const off64_t position = lseek64(in_, 0, SEEK_CUR);
    if (position < 0 && errno == ESPIPE) return fail(offset_ != nullptr ? ESPIPE : EINVAL);
    if (position < 0) return -1;
    const off64_t start = offset_ != nullptr ? *offset_ : position;
    if (start < 0) return fail(EINVAL);
    size_t done = 0;
    const ssize_t last = send_from(start, std::min<size_t>(count, kMaxTransferBytes), &done);
    if (done == 0) return last;
    const auto end = static_cast<off64_t>(start + static_cast<off64_t>(done));
    if (offset_ != nullptr) {
      *offset_ = end;
    } else {
      lseek64(in_, end, SEEK_SET);
    }
    return static_cast<ssize_t>(done);
  }

 private:
  // The last call's answer: 0 at the end of the file.
  ssize_t send_from(off64_t start, size_t count, size_t* done) {
    char piece[kPieceBytes];
    while (*done < count) {
      const size_t wanted = std::min(count - *done, sizeof piece);
      const ssize_t got = pread64(in_, piece, wanted, start + static_cast<off64_t>(*done));
      if (got < 0 && errno == EISDIR) return fail(EINVAL);
      if (got <= 0) return got;
      const ssize_t sent = ::send(out_, piece, static_cast<size_t>(got), 0);
      if (sent < 0) return sent;
      *done += static_cast<size_t>(sent);
      // As the kernel, which looks for signals between the pieces.
      if (sent < got || deliverable(nullptr) != 0) return sent;
    }
    return 0;
  }

  int out_;
  int in_;
  off64_t* offset_;
};

// sendfile(2) moves bytes of a socket into a pipe, too, since Linux 5.12.
[[gnu::noinline]] ssize_t send_socket_to_pipe(int out, int in, size_t count) {
  const NoCancellation guard;
  return splice_to_pipe(in, out, std::min(count, kMaxTransferBytes), !is_nonblocking(out));
}

template <class Kernel>
ssize_t send_file(int out, int in, off64_t* offset, size_t count, Kernel kernel) {
  bool is_stream = false;
  if (is_bypassed(out, &is_stream)) return FileSender(out, in, offset).send(count);
  if (!FdTable::maybe_ours(in) || !is_bypassed(in, &is_stream) || !is_stream ||
      !is_pipe(out, O_WRONLY)) {
    return kernel();
  }
  return offset != nullptr ? fail(ESPIPE) : send_socket_to_pipe(out, in, count);
}

}  // namespace
}  // namespace underpass

using namespace underpass;

UP_EXPORT ssize_t sendfile(int out, int in, off_t* offset, size_t count) noexcept {
  static_assert(sizeof(off_t) == sizeof(off64_t));
  return send_file(out, in, offset, count, [&] { return real().sendfile(out, in, offset, count); });
}

UP_EXPORT ssize_t sendfile64(int out, int in, off64_t* offset, size_t count) noexcept {
  return send_file(out, in, offset, count,
                   [&] { return real().sendfile64(out, in, offset, count); });
}

// Datagram sockets: what is sent so is the kernel's (its socket is bound and connected like ours);
// what has been received is not moved.
UP_EXPORT ssize_t splice(int in, off64_t* in_offset, int out, off64_t* out_offset, size_t count,
                         unsigned flags) {
  bool in_stream = false;
  bool out_stream = false;
  const bool from_socket = FdTable::maybe_ours(in) && is_bypassed(in, &in_stream);
  const bool to_socket = FdTable::maybe_ours(out) && is_bypassed(out, &out_stream);
  constexpr unsigned kKnown = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT;
  const bool moves =
      count != 0 && (flags & ~kKnown) == 0 && in_offset == nullptr && out_offset == nullptr;
  const size_t most = std::min(count, kMaxTransferBytes);
  if (moves && in_stream && !to_socket && is_pipe(out, O_WRONLY)) {
    return splice_to_pipe(in, out, most, (flags & SPLICE_F_NONBLOCK) == 0 && !is_nonblocking(out));
  }
  if (moves && out_stream && !from_socket && is_pipe(in, O_RDONLY)) {
    return splice_from_pipe(in, out, most, flags);
  }
  if (moves && from_socket && !in_stream) return fail(EINVAL);
  return real().splice(in, in_offset, out, out_offset, count, flags);
}
