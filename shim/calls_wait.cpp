// calls_wait.cpp - poll(2), select, epoll in all their forms
#include <algorithm>
#include <bit>
#include <climits>
#include <vector>

#include "base/fd.h"
#include "base/user_pointer.h"
#include "shim/epoll_set.h"
#include "shim/fd_sets.h"
#include "shim/fd_table.h"
#include "shim/poller.h"
#include "shim/posix_border.h"
#include "shim/real.h"
#include "shim/startup.h"
#include "stack/clock.h"

namespace underpass {
namespace {

Deadline deadline_of_ms(int timeout_ms) {
  if (timeout_ms < 0) return Deadline::never();
  return Deadline::in_ns(static_cast<uint64_t>(timeout_ms) * kNsPerMs);
}

// EINVAL as the kernel's poll_select_set_timeout() says it.
Result<Deadline> deadline_of(const timespec* timeout) {
  if (timeout == nullptr) return Deadline::never();
  constexpr long kNsPerSecond = 1'000'000'000;
  if (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= kNsPerSecond) {
    return Error{EINVAL};
  }
  constexpr time_t kForever = 1 << 30;  // seconds; beyond it nanoseconds would not fit
  if (timeout->tv_sec >= kForever) return Deadline::never();
  return Deadline::in_ns(static_cast<uint64_t>(timeout->tv_sec) * kNsPerS +
                         static_cast<uint64_t>(timeout->tv_nsec));
}

// ---- select

// How many numbers the kernel's table of descriptors would have room for if ours were not in it: a
// power of two (alloc_fdtable() in fs/file.c). It may have been larger before.
int program_table_size() {
  constexpr int kSmallest = 256;
  const int highest = highest_program_fd();
  if (highest < 0) return INT_MAX;
  return std::max(kSmallest, static_cast<int>(std::bit_ceil(static_cast<unsigned>(highest) + 1)));
}

// The sets stay untouched on error.
Result<int> select_files(int count, const FdSets& sets, Deadline deadline, const sigset_t* mask) {
  std::vector<pollfd> fds = pollfds_of(sets, count);
  auto ready = poll_files(fds, deadline, mask, Polling::kForSelect);
  if (ready) return write_back(fds, sets, count);
  if (ready.error() != EBADF) return ready;
  // What is behind the table's end is not looked at (core_sys_select() in fs/select.c).
  const int within = program_table_size();
  if (within >= count) return ready;
  return select_files(within, sets, deadline, mask);
}

uint64_t left_ns(Deadline deadline) {
  const uint64_t now = monotonic_ns();
  return deadline.at_ns > now ? deadline.at_ns - now : 0;
}

// ---- epoll

int remember_epoll(int fd) {
  if (fd < 0 || !bypass_is_possible()) return fd;
  StackLock lock;
  FdTable::drop(fd);
  const Ref<EpollSet> set = EpollSet::create(fd);
  if (set) FdTable::put(fd, set.get());
  return fd;
}

// The kernel's own epoll_pwait; in the child of a fork it must not see the parent's shadows.
int wait_for_kernels(int fd, epoll_event* events, int count, int timeout_ms, const sigset_t* mask) {
  const Deadline deadline = deadline_of_ms(timeout_ms);
  for (;;) {
    const int got = real().epoll_pwait(fd, events, count, timeout_ms, mask);
    if (got <= 0 || !is_forked_child()) return got;
    bool had_cookie = false;
    const int left = EpollSet::without_cookie(events, got, &had_cookie);
    if (left > 0 || !had_cookie || deadline.passed()) return left;
    // A shadow that stays ready belongs to another process: not to be spun on.
    timespec pause{0, 1'000'000};
    sys::call(SYS_nanosleep, sys::arg(&pause), 0);
  }
}

int wait_for_epoll(int fd, epoll_event* events, int count, Deadline deadline, const sigset_t* mask,
                   bool* ours) {
  HeldFile file(fd);
  EpollSet* const set = file.epoll();
  *ours = set != nullptr;
  if (set == nullptr) return 0;
  constexpr int kMaxEvents = INT_MAX / static_cast<int>(sizeof(epoll_event));
  if (count <= 0 || count > kMaxEvents) return to_posix(Result<int>(Error{EINVAL}));
  if (!is_user_memory(events, static_cast<size_t>(count) * sizeof *events)) {
    return to_posix(Result<int>(Error{EFAULT}));
  }
  return to_posix(set->wait({events, static_cast<size_t>(count)}, deadline, mask));
}

}  // namespace
}  // namespace underpass

using namespace underpass;

UP_EXPORT int poll(pollfd* fds, nfds_t count, int timeout_ms) {
  if (!is_user_memory(fds, count * sizeof *fds) || !any_ours({fds, count})) {
    return real().poll(fds, count, timeout_ms);
  }
  return to_posix(poll_files({fds, count}, deadline_of_ms(timeout_ms), nullptr));
}

UP_EXPORT int ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) {
  if (!is_user_memory(fds, count * sizeof *fds) || !any_ours({fds, count})) {
    return real().ppoll(fds, count, timeout, mask);
  }
  const auto deadline = deadline_of(timeout);
  if (!deadline) return to_posix(Result<int>(Error{deadline.error()}));
  return to_posix(poll_files({fds, count}, *deadline, mask));
}

UP_EXPORT int select(int count, fd_set* read_set, fd_set* write_set, fd_set* except_set,
                     timeval* timeout) {
  const FdSets sets{read_set, write_set, except_set};
  if (!are_user_memory(sets, count) || !any_ours(sets, count)) {
    return real().select(count, read_set, write_set, except_set, timeout);
  }
  Deadline deadline = Deadline::never();
  if (timeout != nullptr) {
    if (timeout->tv_sec < 0 || timeout->tv_usec < 0) return to_posix(Result<int>(Error{EINVAL}));
    const timespec exact{timeout->tv_sec + timeout->tv_usec / 1'000'000,
                         timeout->tv_usec % 1'000'000 * 1000};
    deadline = deadline_of(&exact).value();
  }
  const auto result = select_files(count, sets, deadline, nullptr);
  if (timeout != nullptr && deadline.at_ns != UINT64_MAX) {
    const uint64_t left = left_ns(deadline);
    *timeout = {static_cast<time_t>(left / kNsPerS),
                static_cast<suseconds_t>(left % kNsPerS / kNsPerUs)};
  }
  return to_posix(result);
}

UP_EXPORT int pselect(int count, fd_set* read_set, fd_set* write_set, fd_set* except_set,
                      const timespec* timeout, const sigset_t* mask) {
  const FdSets sets{read_set, write_set, except_set};
  if (!are_user_memory(sets, count) || !any_ours(sets, count)) {
    return real().pselect(count, read_set, write_set, except_set, timeout, mask);
  }
  const auto deadline = deadline_of(timeout);
  if (!deadline) return to_posix(Result<int>(Error{deadline.error()}));
  return to_posix(select_files(count, sets, *deadline, mask));
}

UP_EXPORT int epoll_create(int size) noexcept { return remember_epoll(real().epoll_create(size)); }

UP_EXPORT int epoll_create1(int flags) noexcept {
  return remember_epoll(real().epoll_create1(flags));
}

UP_EXPORT int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept {
  HeldFile held(epoll);
  EpollSet* const set = held.epoll();
  if (set == nullptr) return real().epoll_ctl(epoll, operation, fd, event);
  const bool waits = operation != EPOLL_CTL_DEL && is_user_object(event);
  OpenFile* const file = FdTable::find_to_wait(fd, waits ? event->events : 0);
  if (file != nullptr) return to_posix(set->control(operation, fd, *file, event));
  const int done = real().epoll_ctl(epoll, operation, fd, event);
  if (done == 0 && operation == EPOLL_CTL_ADD) set->count_kernel_file(1);
  if (done == 0 && operation == EPOLL_CTL_DEL) set->count_kernel_file(-1);
  return done;
}

UP_EXPORT int epoll_wait(int epoll, epoll_event* events, int count, int timeout_ms) {
  return ::epoll_pwait(epoll, events, count, timeout_ms, nullptr);
}

UP_EXPORT int epoll_pwait(int epoll, epoll_event* events, int count, int timeout_ms,
                          const sigset_t* mask) {
  bool ours = false;
  const int got = wait_for_epoll(epoll, events, count, deadline_of_ms(timeout_ms), mask, &ours);
  return ours ? got : wait_for_kernels(epoll, events, count, timeout_ms, mask);
}

UP_EXPORT int epoll_pwait2(int epoll, epoll_event* events, int count, const timespec* timeout,
                           const sigset_t* mask) {
  if (FdTable::maybe_ours(epoll)) {
    const auto deadline = deadline_of(timeout);
    if (!deadline) return to_posix(Result<int>(Error{deadline.error()}));
    bool ours = false;
    const int got = wait_for_epoll(epoll, events, count, *deadline, mask, &ours);
    if (ours) return got;
  }
  return real().epoll_pwait2(epoll, events, count, timeout, mask);
}
