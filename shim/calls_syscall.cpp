// calls_syscall.cpp - syscall(2): calls by number are served as those by name
//
// libuv sends datagrams so, and other libraries wait so. A descriptor that is closed so is given to
// another file, and our table would not know.
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/user_pointer.h"
#include "shim/fd_sets.h"
#include "shim/fd_table.h"
#include "shim/poller.h"
#include "shim/posix_border.h"
#include "shim/real.h"
#include "shim/startup.h"
#include "stack/clock.h"
#include "stack/no_cancellation.h"
#include "stack/process.h"

namespace underpass {
namespace {

// Arguments as they stand in the registers.
using Registers = long[6];

template <class T>
T from_register(long value) {
  if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<T>(value);
  } else {
    return static_cast<T>(value);
  }
}

template <class R, class... A>
long call(R (*function)(A...), const Registers& from) {
  return [&]<size_t... I>(std::index_sequence<I...>) {
    return static_cast<long>(function(from_register<A>(from[I])...));
  }
  (std::index_sequence_for<A...>());
}

long pass_to_kernel(long number, const Registers& from) {
  const long result = sys::call(number, from[0], from[1], from[2], from[3], from[4], from[5]);
  constexpr long kLastError = -4095;
  return result >= 0 || result < kLastError ? result : fail(static_cast<int>(-result));
}

// A fork that libc's functions for before and after it (pthread_atfork(3)) hear nothing of.
long fork_call(long number, const Registers& from) UP_NO_THREAD_SAFETY {
  process_prepare_fork();
  const long child = pass_to_kernel(number, from);
  const int code = errno;
  if (child == 0) {
    after_fork_in_child();
  } else {
    process_after_fork_parent();
  }
  errno = code;
  return child;
}

// Of clone(2) and clone3(2): whether the child has memory of its own.
bool is_fork(long number, const Registers& from) {
  if (number == SYS_clone) return (from[0] & CLONE_VM) == 0;
  const auto* const flags = from_register<const uint64_t*>(from[0]);
  return is_user_object(flags) && (*flags & CLONE_VM) == 0;
}

// The kernel's set of signals, which is shorter than libc's. False: it is none, the kernel says so.
constexpr size_t kKernelSetBytes = 8;
bool read_signals(const void* set, long bytes, sigset_t& out) {
  if (set == nullptr) return true;
  if (bytes != kKernelSetBytes || !is_user_memory(set, kKernelSetBytes)) return false;
  sigemptyset(&out);
  std::memcpy(&out, set, kKernelSetBytes);
  return true;
}

// One that libc's function would read, or nothing. False: the kernel says EFAULT.
template <class Time>
bool is_readable(const Time* limit) {
  return limit == nullptr || is_user_object(limit);
}

timespec left_of(timespec limit, uint64_t passed_ns) {
  constexpr auto kSecondNs = static_cast<long>(kNsPerS);
  limit.tv_sec -= static_cast<time_t>(passed_ns / kNsPerS);
  limit.tv_nsec -= static_cast<long>(passed_ns % kNsPerS);
  if (limit.tv_nsec < 0) {
    limit.tv_nsec += kSecondNs;
    --limit.tv_sec;
  }
  return limit.tv_sec < 0 ? timespec{0, 0} : limit;
}

// The kernel writes back how much of the limit was left (poll(2), select(2)); libc's functions do
// not. What is no time is left as it is.
template <class Wait>
long with_time_left(timespec* limit, Wait wait) {
  if (limit == nullptr) return wait();
  const timespec given = *limit;
  const uint64_t start = monotonic_ns();
  const long result = wait();
  constexpr auto kSecondNs = static_cast<long>(kNsPerS);
  if (given.tv_sec < 0 || given.tv_nsec < 0 || given.tv_nsec >= kSecondNs) return result;
  *limit = left_of(given, monotonic_ns() - start);
  return result;
}

// More than a second's worth of microseconds is a time to the kernel (kern_select() in
// fs/select.c), to libc it is none.
long select_call(const Registers& from) {
  auto* const limit = from_register<timeval*>(from[4]);
  if (!is_readable(limit)) return pass_to_kernel(SYS_select, from);
  constexpr auto kSecondUs = static_cast<long>(kNsPerS / kNsPerUs);
  timeval exact{};
  if (limit != nullptr) {
    exact = {limit->tv_sec + limit->tv_usec / kSecondUs, limit->tv_usec % kSecondUs};
    if (exact.tv_sec < 0 || exact.tv_usec < 0) return pass_to_kernel(SYS_select, from);
  }
  const int count = ::select(static_cast<int>(from[0]), from_register<fd_set*>(from[1]),
                             from_register<fd_set*>(from[2]), from_register<fd_set*>(from[3]),
                             limit == nullptr ? nullptr : &exact);
  if (limit != nullptr) *limit = exact;
  return count;
}

// The signals stand behind a pointer, with their size, as six arguments are the most.
long pselect_call(const Registers& from) {
  struct SignalsAndBytes {
    const void* set;
    size_t bytes;
  };
  const auto* packed = from_register<const SignalsAndBytes*>(from[5]);
  auto* const limit = from_register<timespec*>(from[4]);
  sigset_t signals;
  if (!is_readable(packed) || !is_readable(limit) ||
      (packed != nullptr &&
       !read_signals(packed->set, static_cast<long>(packed->bytes), signals))) {
    return pass_to_kernel(SYS_pselect6, from);
  }
  const bool masks = packed != nullptr && packed->set != nullptr;
  return with_time_left(limit, [&] {
    return ::pselect(static_cast<int>(from[0]), from_register<fd_set*>(from[1]),
                     from_register<fd_set*>(from[2]), from_register<fd_set*>(from[3]), limit,
                     masks ? &signals : nullptr);
  });
}

long ppoll_call(const Registers& from) {
  sigset_t signals;
  const auto* set = from_register<const void*>(from[3]);
  auto* const limit = from_register<timespec*>(from[2]);
  if (!is_readable(limit) || !read_signals(set, from[4], signals)) {
    return pass_to_kernel(SYS_ppoll, from);
  }
  return with_time_left(limit, [&] {
    return ::ppoll(from_register<pollfd*>(from[0]), static_cast<nfds_t>(from[1]), limit,
                   set == nullptr ? nullptr : &signals);
  });
}

template <class Wait>
long epoll_call(long number, const Registers& from, Wait wait) {
  sigset_t signals;
  const auto* set = from_register<const void*>(from[4]);
  if (!read_signals(set, from[5], signals)) return pass_to_kernel(number, from);
  return wait(static_cast<int>(from[0]), from_register<epoll_event*>(from[1]),
              static_cast<int>(from[2]), set == nullptr ? nullptr : &signals);
}

// The offset stands in two registers, of which the second is for 32 bits only.
template <class Move>
long positioned_call(Move move, const Registers& from) {
  return move(static_cast<int>(from[0]), from_register<const iovec*>(from[1]),
              static_cast<int>(from[2]), static_cast<off64_t>(from[3]), static_cast<int>(from[5]));
}

long wait_call(long number, const Registers& from) {
  switch (number) {
    case SYS_poll:
      return call(::poll, from);
    case SYS_ppoll:
      return ppoll_call(from);
    case SYS_select:
      return select_call(from);
    case SYS_pselect6:
      return pselect_call(from);
    case SYS_epoll_create:
      return call(::epoll_create, from);
    case SYS_epoll_create1:
      return call(::epoll_create1, from);
    case SYS_epoll_ctl:
      return call(::epoll_ctl, from);
    case SYS_epoll_wait:
      return call(::epoll_wait, from);
    case SYS_epoll_pwait:
      return epoll_call(
          number, from, [&](int epoll, epoll_event* events, int count, sigset_t* set) {
            return ::epoll_pwait(epoll, events, count, static_cast<int>(from[3]), set);
          });
    case SYS_epoll_pwait2:
      if (!is_readable(from_register<const timespec*>(from[3])))
        return pass_to_kernel(number, from);
      return epoll_call(number, from,
                        [&](int epoll, epoll_event* events, int count, sigset_t* set) {
                          return ::epoll_pwait2(epoll, events, count,
                                                from_register<const timespec*>(from[3]), set);
                        });
    default:
      return pass_to_kernel(number, from);
  }
}

long transfer_call(long number, const Registers& from) {
  switch (number) {
    case SYS_read:
      return call(::read, from);
    case SYS_write:
      return call(::write, from);
    case SYS_readv:
      return call(::readv, from);
    case SYS_writev:
      return call(::writev, from);
    case SYS_preadv2:
      return positioned_call(::preadv64v2, from);
    case SYS_pwritev2:
      return positioned_call(::pwritev64v2, from);
    case SYS_sendto:
      return call(::sendto, from);
    case SYS_sendmsg:
      return call(::sendmsg, from);
    case SYS_sendmmsg:
      return call(::sendmmsg, from);
    case SYS_recvfrom:
      return call(::recvfrom, from);
    case SYS_recvmsg:
      return call(::recvmsg, from);
    case SYS_recvmmsg:
      return call(::recvmmsg, from);
    case SYS_sendfile:
      return call(::sendfile64, from);
    case SYS_splice:
      return call(::splice, from);
    default:
      return wait_call(number, from);
  }
}

long socket_call(long number, const Registers& from) {
  switch (number) {
    case SYS_socket:
      return call(::socket, from);
    case SYS_bind:
      return call(::bind, from);
    case SYS_listen:
      return call(::listen, from);
    case SYS_accept:
      return call(::accept, from);
    case SYS_accept4:
      return call(::accept4, from);
    case SYS_connect:
      return call(::connect, from);
    case SYS_shutdown:
      return call(::shutdown, from);
    case SYS_getsockname:
      return call(::getsockname, from);
    case SYS_getpeername:
      return call(::getpeername, from);
    case SYS_getsockopt:
      return call(::getsockopt, from);
    case SYS_setsockopt:
      return call(::setsockopt, from);
    case SYS_ioctl:
      return ::ioctl(static_cast<int>(from[0]), static_cast<unsigned long>(from[1]), from[2]);
    default:
      return transfer_call(number, from);
  }
}

long descriptor_call(long number, const Registers& from) {
  switch (number) {
    case SYS_close:
      return call(::close, from);
    case SYS_dup:
      return call(::dup, from);
    case SYS_dup2:
      return call(::dup2, from);
    case SYS_dup3:
      return call(::dup3, from);
    case SYS_close_range:
      return call(::close_range, from);
    case SYS_fcntl:
      return ::fcntl64(static_cast<int>(from[0]), static_cast<int>(from[1]), from[2]);
    case SYS_vfork:  // its child would share our memory
    case SYS_fork:
      return fork_call(SYS_fork, from);
    case SYS_clone:
    case SYS_clone3:
      return fork_call(number, from);
    case SYS_exit_group:
      ::_exit(static_cast<int>(from[0]));
    default:
      return socket_call(number, from);
  }
}

// Whether the call has to do with a descriptor of ours. Any other is the kernel's without a detour:
// it may block, and handlers run at once.
bool concerns_us(long number, const Registers& from) {
  const auto is_ours = [&](size_t argument) {
    return FdTable::maybe_ours(static_cast<int>(from[argument]));
  };
  switch (number) {
    case SYS_socket:
    case SYS_epoll_create:
    case SYS_epoll_create1:
    case SYS_close:
    case SYS_close_range:
    case SYS_dup2:
    case SYS_dup3:
    case SYS_exit_group:
      return true;
    case SYS_fork:
    case SYS_vfork:
      return bypass_is_possible();
    case SYS_clone:
    case SYS_clone3:
      return bypass_is_possible() && is_fork(number, from);
    case SYS_poll:
    case SYS_ppoll: {
      const auto* const fds = from_register<const pollfd*>(from[0]);
      const auto count = static_cast<nfds_t>(from[1]);
      constexpr nfds_t kMost = FdTable::kMaxFds;
      return count <= kMost && is_user_memory(fds, count * sizeof *fds) && any_ours({fds, count});
    }
    case SYS_select:
    case SYS_pselect6: {
      const FdSets sets{from_register<fd_set*>(from[1]), from_register<fd_set*>(from[2]),
                        from_register<fd_set*>(from[3])};
      const int count = static_cast<int>(from[0]);
      return are_user_memory(sets, count) && any_ours(sets, count);
    }
    case SYS_sendfile:
      return is_ours(0) || is_ours(1);
    case SYS_splice:
      return is_ours(0) || is_ours(2);
    default:
      return is_ours(0);
  }
}

}  // namespace
}  // namespace underpass

using namespace underpass;

// No cancellation point (syscall(2)).
UP_EXPORT long syscall(long number, ...) noexcept {
  va_list rest;
  va_start(rest, number);
  Registers from;
  for (long& one : from) one = va_arg(rest, long);
  va_end(rest);
  if (!concerns_us(number, from)) return pass_to_kernel(number, from);
  const NoCancellation guard;
  return descriptor_call(number, from);
}
