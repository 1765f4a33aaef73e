// calls_limits.cpp - RLIMIT_NOFILE as the program sees it: never the moment in which it is raised
//
// base/fd_limit.h raises it for a moment. A program that reads or changes it waits for the end of
// that, or its change would be undone.
#include <sys/resource.h>

#include "base/fd_limit.h"
#include "shim/real.h"

namespace underpass {
namespace {

template <class Call>
int with_limit_at_rest(int resource, Call call) {
  if (resource != RLIMIT_NOFILE) return call();
  const FdLimitLock lock;
  return call();
}

}  // namespace
}  // namespace underpass

using namespace underpass;

UP_EXPORT int getrlimit(__rlimit_resource_t resource, rlimit* limit) noexcept {
  return with_limit_at_rest(resource, [&] { return real().getrlimit(resource, limit); });
}

UP_EXPORT int getrlimit64(__rlimit_resource_t resource, rlimit64* limit) noexcept {
  return with_limit_at_rest(resource, [&] { return real().getrlimit64(resource, limit); });
}

UP_EXPORT int setrlimit(__rlimit_resource_t resource, const rlimit* limit) noexcept {
  return with_limit_at_rest(resource, [&] { return real().setrlimit(resource, limit); });
}

UP_EXPORT int setrlimit64(__rlimit_resource_t resource, const rlimit64* limit) noexcept {
  return with_limit_at_rest(resource, [&] { return real().setrlimit64(resource, limit); });
}

UP_EXPORT int prlimit(pid_t pid, __rlimit_resource resource, const rlimit* limit,
                      rlimit* old) noexcept {
  return with_limit_at_rest(resource, [&] { return real().prlimit(pid, resource, limit, old); });
}

UP_EXPORT int prlimit64(pid_t pid, __rlimit_resource resource, const rlimit64* limit,
                        rlimit64* old) noexcept {
  return with_limit_at_rest(resource, [&] { return real().prlimit64(pid, resource, limit, old); });
}
