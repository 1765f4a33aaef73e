// calls_fd.cpp - close(2), dup and their kin: which number names which file
#include <linux/close_range.h>
#include <sys/resource.h>

#include <climits>

#include "base/fd.h"
#include "shim/fd_table.h"
#include "shim/passed_fds.h"
#include "shim/posix_border.h"
#include "shim/real.h"
#include "stack/no_cancellation.h"

namespace underpass {
namespace {

bool beyond_limit(int fd) {
  rlimit limit{};
  sys::call(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, sys::arg(&limit));
  return fd < 0 || static_cast<rlim_t>(fd) >= limit.rlim_cur;
}

// `to` becomes another number of `from`'s file, whatever it was before.
template <class Real>
int duplicate_to(int from, int to, Real make) {
  if (is_private_fd(to)) return fail(EBADF);
  if (!FdTable::maybe_ours(from) && !FdTable::maybe_ours(to)) return make();
  const NoCancellation guard;  // the end of a lingering connection waits
  move_out_for_streams(from, to);
  StackLock lock;
  const int usable = sys::fcntl(from, F_GETFD);
  if (usable < 0) return fail(-usable);
  if (beyond_limit(to)) return fail(EBADF);
  if (from == to) return make();
  const Ref<OpenFile> file(FdTable::find(from));
  FdTable::drop(to);
  const int made = make();
  if (made < 0 || !file) return made;
  FdTable::put(to, file.get());
  file->add_fd(to);
  return made;
}

// Calls close(first, last) for each run of numbers without one of ours among them.
template <class Close>
int around_private(unsigned first, unsigned last, Close close) {
  unsigned from = first;
  while (from <= last) {
    const int own = from > INT_MAX ? -1 : next_private_fd(static_cast<int>(from));
    const auto stop = static_cast<unsigned>(own);
    if (own < 0 || stop > last) return close(from, last);
    if (stop > from) {
      const int done = close(from, stop - 1);
      if (done < 0) return done;
    }
    from = stop + 1;
  }
  return 0;
}

}  // namespace
}  // namespace underpass

using namespace underpass;

UP_EXPORT int close(int fd) {
  if (is_private_fd(fd)) return fail(EBADF);
  if (FdTable::maybe_ours(fd)) {
    StackLock lock;
    FdTable::drop(fd);
  }
  return real().close(fd);
}

UP_EXPORT int dup(int fd) noexcept { return ::fcntl(fd, F_DUPFD, 0); }

UP_EXPORT int dup2(int from, int to) noexcept {
  return duplicate_to(from, to, [&] { return real().dup2(from, to); });
}

UP_EXPORT int dup3(int from, int to, int flags) noexcept {
  if (from == to || (flags & ~O_CLOEXEC) != 0) return fail(EINVAL);
  return duplicate_to(from, to, [&] { return real().dup3(from, to, flags); });
}

UP_EXPORT int close_range(unsigned first, unsigned last, int flags) noexcept {
  constexpr auto kKnown = static_cast<int>(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC);
  if (first > last || (flags & ~kKnown) != 0) return fail(EINVAL);
  const NoCancellation guard;
  if ((flags & static_cast<int>(CLOSE_RANGE_CLOEXEC)) == 0) {
    StackLock lock;
    FdTable::drop_range(first, last);
  }
  return around_private(
      first, last, [&](unsigned from, unsigned to) { return real().close_range(from, to, flags); });
}

UP_EXPORT void closefrom(int first) noexcept {
  ::close_range(static_cast<unsigned>(first < 0 ? 0 : first), UINT_MAX, 0);
}
