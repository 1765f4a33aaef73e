// set_option.h - setsockopt(2) with a value of any type
#pragma once

#include "base/result.h"
#include "base/sys.h"

namespace underpass {

template <class T>
Result<void> set_option(int socket, int level, int name, const T& value) {
  const int done = sys::setsockopt(socket, level, name, &value, sizeof value);
  if (done < 0) return Error{-done};
  return {};
}

}  // namespace underpass
