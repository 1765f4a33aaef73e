// real.cpp - finding libc's functions behind our own
#include "shim/real.h"

#include <dlfcn.h>

#include <cerrno>
#include <cstdarg>
#include <type_traits>

#include "base/sys.h"

namespace underpass {

namespace {

// A system call's answer as libc gives it.
template <class R>
R libc_answer(long result) {
  if (result >= 0) return static_cast<R>(result);
  errno = static_cast<int>(-result);
  return static_cast<R>(-1);
}

template <class T>
long as_long(T value) {
  if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<long>(value);
  } else {
    return static_cast<long>(value);
  }
}

// Stands in for libc's function until find_real_calls() is through: the system call itself.
template <long Number, class F>
struct Early;
template <long Number, class R, class... A>
struct Early<Number, R (*)(A...)> {
  static R call(A... arguments) { return libc_answer<R>(sys::call(Number, as_long(arguments)...)); }
};
template <long Number, class R, class A, class B>
struct Early<Number, R (*)(A, B, ...)> {
  static R call(A first, B second, ...) {
    va_list rest;
    va_start(rest, second);
    const long third = as_long(va_arg(rest, void*));
    va_end(rest);
    return libc_answer<R>(sys::call(Number, as_long(first), as_long(second), third));
  }
};

// Stands in for the others: looks all names up, then calls what it found.
template <auto Member, class F>
struct Late;
template <auto Member, class R, class... A>
struct Late<Member, R (*)(A...)> {
  static R call(A... arguments) {
    find_real_calls();
    return (real_calls.*Member)(arguments...);
  }
};

// A name that this libc does not have.
template <class F>
struct Absent;
template <class R, class... A>
struct Absent<R (*)(A...)> {
  static R call(A...) {
    errno = ENOSYS;
    if constexpr (std::is_pointer_v<R>) {
      return nullptr;
    } else if constexpr (!std::is_void_v<R>) {
      return static_cast<R>(-1);
    }
  }
};
template <class R, class... A>
struct Absent<R (*)(A..., ...)> {
  static R call(A..., ...) {
    errno = ENOSYS;
    return static_cast<R>(-1);
  }
};

template <class F>
F find(const char* name) {
  void* const found = dlsym(RTLD_NEXT, name);
  return found != nullptr ? reinterpret_cast<F>(found) : &Absent<F>::call;
}

}  // namespace

// Filled at compile time, so that it is whole before any code of ours has run.
constinit RealCalls real_calls = {
#define UP_CALL(name, group) &Late<&RealCalls::name, decltype(RealCalls::name)>::call,
#define UP_CALL_EARLY(name, group, syscall) &Early<syscall, decltype(RealCalls::name)>::call,
#define UP_CALL_EARLY_VARIADIC(name, group, syscall) \
  &Early<syscall, decltype(RealCalls::name)>::call,
#define UP_CALL_WRAPPED(name, group)
#include "shim/calls.def"
#undef UP_CALL_WRAPPED
#undef UP_CALL
#undef UP_CALL_EARLY
#undef UP_CALL_EARLY_VARIADIC
};

void find_real_calls() {
  RealCalls found = {
#define UP_CALL(name, group) find<decltype(RealCalls::name)>(#name),
#define UP_CALL_EARLY(name, group, syscall) find<decltype(RealCalls::name)>(#name),
#define UP_CALL_EARLY_VARIADIC(name, group, syscall) find<decltype(RealCalls::name)>(#name),
#define UP_CALL_WRAPPED(name, group)
#include "shim/calls.def"
#undef UP_CALL_WRAPPED
#undef UP_CALL
#undef UP_CALL_EARLY
#undef UP_CALL_EARLY_VARIADIC
  };
  // Two threads that come here at once store the same values.
  real_calls = found;
}

}  // namespace underpass
