// sys.cpp - the one place where system calls are made
#include "base/sys.h"

#include <cerrno>
#include <unistd.h>

namespace underpass::sys {

long call(long number, long a, long b, long c, long d, long e, long f) {
  const int saved = errno;
  const long result = ::syscall(number, a, b, c, d, e, f);
  if (result != -1) return result;
  const int code = errno;
  errno = saved;
  return -code;
}

}  // namespace underpass::sys
