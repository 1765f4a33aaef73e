// posix_border.h - from Result to what libc's functions return: a value, or -1 and errno
#pragma once

#include <signal.h>

#include <cerrno>
#include <type_traits>

#include "base/result.h"
#include "base/sys.h"

namespace underpass {

inline int fail(int error) {
  errno = error;
  return -1;
}

inline int to_posix(const Result<void>& result) { return result ? 0 : fail(result.error()); }

inline int to_posix(const Result<int>& result) { return result ? *result : fail(result.error()); }

inline ssize_t to_posix(const Result<size_t>& result) {
  return result ? static_cast<ssize_t>(*result) : fail(result.error());
}

// For calls that write to a stream: EPIPE comes with SIGPIPE unless MSG_NOSIGNAL was given
// (send(2)). To be called without the lock: the handler runs at once.
inline ssize_t to_posix_after_write(const Result<size_t>& result, bool is_stream, int flags) {
  if (!result && result.error() == EPIPE && is_stream && (flags & MSG_NOSIGNAL) == 0) {
    sys::call(SYS_tgkill, sys::getpid(), sys::gettid(), SIGPIPE);
  }
  return to_posix(result);
}

}  // namespace underpass
