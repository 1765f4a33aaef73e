// mapping.h - memory mapped from a descriptor, with one owner
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <utility>

#include "base/result.h"
#include "base/sys.h"

namespace underpass {

// Move-only; unmaps itself.
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept
      : at_(std::exchange(other.at_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(at_, other.at_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (at_ != nullptr) sys::call(SYS_munmap, sys::arg(at_), static_cast<long>(bytes_));
  }

  static Result<Mapping> map(int fd, size_t bytes, long offset, int protection, int flags) {
    const long at = sys::call(SYS_mmap, 0, static_cast<long>(bytes), protection, flags, fd, offset);
    if (at < 0 && at > -4096) return Error{static_cast<int>(-at)};
    Mapping mapping;
    mapping.at_ = reinterpret_cast<void*>(at);
    mapping.bytes_ = bytes;
    return mapping;
  }

  // The memory is zero from now on, and private: what was mapped is let go. Another thread that
  // reads there meanwhile sees the one or the other.
  void become_empty() {
    if (at_ == nullptr) return;
    sys::call(SYS_mmap, sys::arg(at_), static_cast<long>(bytes_), PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  }

  void* get() const { return at_; }
  size_t bytes() const { return bytes_; }

 private:
  void* at_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace underpass
