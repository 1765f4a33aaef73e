// sys.h - system calls that never pass through a libc name
//
// Inside libunderpass.so `::close` is our own interposed function, so everything
// below shim/ calls the kernel through these. Each returns what the kernel returns:
// a value >= 0, or -errno; the program's errno is left alone. None is a
// pthread cancellation point. Thread-safe.
#pragma once

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#include <cstddef>
#include <cstdint>

namespace underpass::sys {

// Not libc's syscall(), which is our own name, too.
long call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0);

template <class T>
inline long arg(T* pointer) {
  return reinterpret_cast<long>(pointer);
}

inline int close(int fd) { return static_cast<int>(call(SYS_close, fd)); }
inline long read(int fd, void* data, size_t size) {
  return call(SYS_read, fd, arg(data), static_cast<long>(size));
}
inline long write(int fd, const void* data, size_t size) {
  return call(SYS_write, fd, arg(data), static_cast<long>(size));
}
inline int socket(int family, int type, int protocol) {
  return static_cast<int>(call(SYS_socket, family, type, protocol));
}
inline int bind(int fd, const sockaddr* address, socklen_t length) {
  return static_cast<int>(call(SYS_bind, fd, arg(address), length));
}
inline int connect(int fd, const sockaddr* address, socklen_t length) {
  return static_cast<int>(call(SYS_connect, fd, arg(address), length));
}
inline int listen(int fd, int backlog) { return static_cast<int>(call(SYS_listen, fd, backlog)); }
inline int accept4(int fd, sockaddr* address, socklen_t* length, int flags) {
  return static_cast<int>(call(SYS_accept4, fd, arg(address), arg(length), flags));
}
inline int shutdown(int fd, int how) { return static_cast<int>(call(SYS_shutdown, fd, how)); }
inline int getsockname(int fd, sockaddr* address, socklen_t* length) {
  return static_cast<int>(call(SYS_getsockname, fd, arg(address), arg(length)));
}
inline int dup3(int from, int to, int flags) {
  return static_cast<int>(call(SYS_dup3, from, to, flags));
}
inline int getpeername(int fd, sockaddr* address, socklen_t* length) {
  return static_cast<int>(call(SYS_getpeername, fd, arg(address), arg(length)));
}
inline int getsockopt(int fd, int level, int name, void* value, socklen_t* length) {
  return static_cast<int>(call(SYS_getsockopt, fd, level, name, arg(value), arg(length)));
}
inline int setsockopt(int fd, int level, int name, const void* value, socklen_t length) {
  return static_cast<int>(call(SYS_setsockopt, fd, level, name, arg(value), length));
}
inline long sendto(int fd, const void* data, size_t size, int flags, const sockaddr* address,
                   socklen_t length) {
  return call(SYS_sendto, fd, arg(data), static_cast<long>(size), flags, arg(address), length);
}
inline long sendmsg(int fd, const msghdr* message, int flags) {
  return call(SYS_sendmsg, fd, arg(message), flags);
}
inline long recvmsg(int fd, msghdr* message, int flags) {
  return call(SYS_recvmsg, fd, arg(message), flags);
}
inline int fcntl(int fd, int command, long argument = 0) {
  return static_cast<int>(call(SYS_fcntl, fd, command, argument));
}
inline int ioctl(int fd, unsigned long request, void* argument) {
  return static_cast<int>(call(SYS_ioctl, fd, static_cast<long>(request), arg(argument)));
}
inline int eventfd(unsigned value, int flags) {
  return static_cast<int>(call(SYS_eventfd2, value, flags));
}
// The kernel writes the remaining time into *timeout; callers that must not see that pass a copy.
inline int ppoll(pollfd* fds, nfds_t count, timespec* timeout, const sigset_t* mask) {
  constexpr long kKernelSigsetBytes = 8;
  return static_cast<int>(call(SYS_ppoll, arg(fds), static_cast<long>(count), arg(timeout),
                               arg(mask), kKernelSigsetBytes));
}
inline int futex_wait(void* word, uint32_t expected, const timespec* timeout, bool shared) {
  return static_cast<int>(call(SYS_futex, arg(word), FUTEX_WAIT | (shared ? 0 : FUTEX_PRIVATE_FLAG),
                               expected, arg(timeout)));
}
inline int futex_wake(void* word, int count, bool shared) {
  return static_cast<int>(
      call(SYS_futex, arg(word), FUTEX_WAKE | (shared ? 0 : FUTEX_PRIVATE_FLAG), count));
}
inline int gettid() { return static_cast<int>(call(SYS_gettid)); }
inline int getpid() { return static_cast<int>(call(SYS_getpid)); }

}  // namespace underpass::sys
