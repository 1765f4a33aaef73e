// nofile_limit.h - RLIMIT_NOFILE of a test
//
// By the system call: libc's names are the shim's, too, and would come out of its archive into the
// test, where AddressSanitizer calls them before it can.
#pragma once

#include <sys/resource.h>

#include "base/sys.h"

namespace underpass::test {

inline rlimit nofile_limit() {
  rlimit limit{};
  sys::call(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, sys::arg(&limit));
  return limit;
}

inline bool set_nofile_limit(const rlimit& limit) {
  return sys::call(SYS_prlimit64, 0, RLIMIT_NOFILE, sys::arg(&limit), 0) == 0;
}

}  // namespace underpass::test
