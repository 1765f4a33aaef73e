// posix_border.h - from Result to what libc's functions return: a value, or -1 and errno
#pragma once

#include <signal.h>

#include <cerrno>
#include <type_traits>

#include "base/result.h"
#include "base/sys.h"

namespace underpass {

inline int to_posix(const Result<void>& result) {
  if (result) return 0;
  errno = result.error();
  return -1;
}

inline int to_posix(const Result<int>& result) {
  if (result) return *result;
  errno = result.error();
  return -1;
}

inline ssize_t to_posix(const Result<size_t>& result) {
  if (result) return static_cast<ssize_t>(*result);
  errno = result.error();
  return -1;
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
