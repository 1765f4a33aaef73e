// real.h - libc's own functions, which our names hide
//
// Ready at any time: before our constructor has run, and while dlsym(3) itself runs (an allocator
// may read files then), the early names go straight to the kernel. Thread-safe.
#pragma once

#include "shim/libc_names.h"

// glibc's declarations carry attributes (access, nonnull) that are no part of a type.
#pragma GCC diagnostic ignored "-Wignored-attributes"

namespace underpass {

// A pointer to function without its noexcept: libc's pointers are stored, not called through a
// contract.
template <class F>
struct WithoutNoexcept {
  using Type = F;
};
template <class R, class... A>
struct WithoutNoexcept<R (*)(A...) noexcept> {
  using Type = R (*)(A...);
};
template <class R, class... A>
struct WithoutNoexcept<R (*)(A..., ...) noexcept> {
  using Type = R (*)(A..., ...);
};
#ifdef __clang__
// longjmp's: part of the type for clang alone.
template <class R, class... A>
struct WithoutNoexcept<R(__attribute__((noreturn))*)(A...) noexcept> {
  using Type = R (*)(A...);
};
#endif

struct RealCalls {
#define UP_CALL(name, group) WithoutNoexcept<decltype(&::name)>::Type name;
#define UP_CALL_EARLY(name, group, syscall) WithoutNoexcept<decltype(&::name)>::Type name;
#define UP_CALL_EARLY_VARIADIC(name, group, syscall) WithoutNoexcept<decltype(&::name)>::Type name;
#define UP_CALL_WRAPPED(name, group)
#include "shim/calls.def"
#undef UP_CALL_WRAPPED
#undef UP_CALL
#undef UP_CALL_EARLY
#undef UP_CALL_EARLY_VARIADIC
};

extern RealCalls real_calls;

inline const RealCalls& real() { return real_calls; }

// Looks every name up. Called by the constructor, or by the first call that comes before it.
void find_real_calls();

}  // namespace underpass
