// calls_checked.cpp - what programs built with -D_FORTIFY_SOURCE call; an overflow goes to libc,
// which aborts
#include "shim/fd_table.h"
#include "shim/real.h"

using namespace underpass;

UP_EXPORT ssize_t __read_chk(int fd, void* data, size_t size, size_t room) {
  if (size > room) return real().__read_chk(fd, data, size, room);
  return ::read(fd, data, size);
}

UP_EXPORT ssize_t __recv_chk(int fd, void* data, size_t size, size_t room, int flags) {
  if (size > room) return real().__recv_chk(fd, data, size, room, flags);
  return ::recv(fd, data, size, flags);
}

UP_EXPORT ssize_t __recvfrom_chk(int fd, void* data, size_t size, size_t room, int flags,
                                 sockaddr* address, socklen_t* length) {
  if (size > room) return real().__recvfrom_chk(fd, data, size, room, flags, address, length);
  return ::recvfrom(fd, data, size, flags, address, length);
}

UP_EXPORT int __poll_chk(pollfd* fds, nfds_t count, int timeout_ms, size_t room) {
  if (room / sizeof *fds < count) return real().__poll_chk(fds, count, timeout_ms, room);
  return ::poll(fds, count, timeout_ms);
}

UP_EXPORT int __ppoll_chk(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask,
                          size_t room) {
  if (room / sizeof *fds < count) return real().__ppoll_chk(fds, count, timeout, mask, room);
  return ::ppoll(fds, count, timeout, mask);
}
