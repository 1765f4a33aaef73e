// calls_socket.cpp - the life of a socket: socket(2), bind, listen, accept, connect, shutdown,
// names
#include "shim/fd_table.h"
#include "shim/posix_border.h"
#include "shim/real.h"

namespace underpass {
namespace {

// Socket calls that have nothing for the kernel to do once a file is ours.
template <class Bypass, class Kernel>
int on_socket(int fd, Bypass bypass, Kernel kernel) {
  {
    HeldFile file(fd);
    if (SocketFile* const socket = file.socket()) return to_posix(bypass(*socket));
  }
  return kernel();
}

// Only a hybrid listener is ours to accept on; any other socket has the kernel's errno.
template <class Kernel>
int accept_any(int fd, sockaddr* address, socklen_t* length, int flags, Kernel kernel) {
  {
    HeldFile file(fd);
    SocketFile* const socket = file.socket();
    if (socket != nullptr && socket->placement() != Placement::kUnplaced) {
      auto accepted = socket->accept(address, length, flags);
      if (!accepted) return to_posix(Result<int>(Error{accepted.error()}));
      if (accepted->file) FdTable::put(accepted->fd, accepted->file.get());
      return accepted->fd;
    }
  }
  return kernel();
}

}  // namespace
}  // namespace underpass

using namespace underpass;

UP_EXPORT int socket(int family, int type, int protocol) noexcept {
  const int fd = real().socket(family, type, protocol);
  if (fd < 0) return fd;
  const Ref<SocketFile> file = SocketFile::create(fd, family, type, protocol);
  // A stale entry of this number, closed behind our back, must go in any case.
  if (!FdTable::maybe_ours(fd) && !file) return fd;
  StackLock lock;
  FdTable::drop(fd);
  if (file) FdTable::put(fd, file.get());
  return fd;
}

UP_EXPORT int bind(int fd, const sockaddr* address, socklen_t length) noexcept {
  return on_socket(
      fd, [&](SocketFile& socket) UP_NO_THREAD_SAFETY { return socket.bind(address, length); },
      [&] { return real().bind(fd, address, length); });
}

UP_EXPORT int listen(int fd, int backlog) noexcept {
  return on_socket(
      fd, [&](SocketFile& socket) UP_NO_THREAD_SAFETY { return socket.listen(backlog); },
      [&] { return real().listen(fd, backlog); });
}

UP_EXPORT int accept(int fd, sockaddr* address, socklen_t* length) {
  return accept_any(fd, address, length, 0, [&] { return real().accept(fd, address, length); });
}

UP_EXPORT int accept4(int fd, sockaddr* address, socklen_t* length, int flags) {
  return accept_any(fd, address, length, flags,
                    [&] { return real().accept4(fd, address, length, flags); });
}

UP_EXPORT int connect(int fd, const sockaddr* address, socklen_t length) {
  {
    HeldFile file(fd);
    if (SocketFile* const socket = file.socket()) {
      const auto done = socket->connect(address, length);
      if (done) return to_posix(*done);
    }
  }
  return real().connect(fd, address, length);
}

UP_EXPORT int shutdown(int fd, int how) noexcept {
  return on_socket(
      fd, [&](SocketFile& socket) UP_NO_THREAD_SAFETY { return socket.shutdown(how); },
      [&] { return real().shutdown(fd, how); });
}

UP_EXPORT int getsockname(int fd, sockaddr* address, socklen_t* length) noexcept {
  return on_socket(
      fd,
      [&](SocketFile& socket) UP_NO_THREAD_SAFETY { return socket.getsockname(address, length); },
      [&] { return real().getsockname(fd, address, length); });
}

UP_EXPORT int getpeername(int fd, sockaddr* address, socklen_t* length) noexcept {
  return on_socket(
      fd,
      [&](SocketFile& socket) UP_NO_THREAD_SAFETY { return socket.getpeername(address, length); },
      [&] { return real().getpeername(fd, address, length); });
}
