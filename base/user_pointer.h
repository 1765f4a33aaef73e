// user_pointer.h - addresses that no program has
//
// The kernel answers EFAULT for any address that it cannot read or write. A copy in the program
// itself faults instead, so the addresses that are wrong at sight (null with an offset, -1, small
// numbers) are refused before. A plausible address that is not mapped is the program's SIGSEGV.
#pragma once

#include <cstddef>
#include <cstdint>

namespace underpass {

inline bool is_user_memory(const void* at, size_t bytes) {
  constexpr uintptr_t kLowest = 4096;              // the first page is never mapped
  constexpr uintptr_t kEnd = uintptr_t{1} << 56U;  // user addresses with five-level paging
  const auto address = reinterpret_cast<uintptr_t>(at);
  return bytes == 0 || (address >= kLowest && address < kEnd && bytes <= kEnd - address);
}

// Less than that: access_ok() of the kernel, which knows nothing of the first page.
inline bool is_below_kernel(const void* at, size_t bytes) {
  constexpr uintptr_t kEnd = uintptr_t{1} << 56U;  // user addresses with five-level paging
  const auto address = reinterpret_cast<uintptr_t>(at);
  return bytes == 0 || (address < kEnd && bytes <= kEnd - address);
}

template <class T>
bool is_user_object(const T* at) {
  return is_user_memory(at, sizeof(T));
}

}  // namespace underpass
