// fd.cpp - where our own descriptors are kept
#include "base/fd.h"

#include <dirent.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <charconv>
#include <cstring>

#include "base/fd_limit.h"

namespace underpass {

namespace {
// A bit a number. Numbers above are never given out. Zero pages cost nothing.
constexpr int kMaxFd = 1 << 20;
constexpr int kBits = 64;
std::atomic<uint64_t> private_fds[kMaxFd / kBits];

uint64_t bit_of(int fd) { return uint64_t{1} << (fd % kBits); }

}  // namespace

bool is_private_fd(int fd) {
  if (fd < 0 || fd >= kMaxFd) return false;
  return (private_fds[fd / kBits].load(std::memory_order_relaxed) & bit_of(fd)) != 0;
}

int next_private_fd(int from) {
  for (int fd = std::max(from, 0); fd < kMaxFd;) {
    const uint64_t word = private_fds[fd / kBits].load(std::memory_order_relaxed) >> (fd % kBits);
    if (word != 0) return fd + std::countr_zero(word);
    fd += kBits - fd % kBits;
  }
  return -1;
}

int highest_program_fd() {
  const long directory = sys::call(SYS_openat, AT_FDCWD, sys::arg("/proc/self/fd"),
                                   O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return -1;
  const Fd listing(static_cast<int>(directory));
  int highest = -1;
  alignas(dirent64) char entries[4096];
  for (;;) {
    const long bytes =
        sys::call(SYS_getdents64, listing.get(), sys::arg(&entries[0]), sizeof entries);
    if (bytes <= 0) return highest;
    for (long at = 0; at < bytes;) {
      const auto* entry = reinterpret_cast<const dirent64*>(&entries[at]);
      int fd = -1;
      // "." and ".." are no numbers.
      std::from_chars(entry->d_name, entry->d_name + std::strlen(entry->d_name), fd);
      if (fd != listing.get() && !is_private_fd(fd)) highest = std::max(highest, fd);
      at += entry->d_reclen;
    }
  }
}

void close_own(int fd) {
  if (is_private_fd(fd)) private_fds[fd / kBits].fetch_and(~bit_of(fd));
  sys::close(fd);
}

void close_private_fds(std::span<const int> kept) {
  for (int fd = next_private_fd(0); fd >= 0; fd = next_private_fd(fd + 1)) {
    if (std::find(kept.begin(), kept.end(), fd) == kept.end()) close_own(fd);
  }
}

int first_private_fd() { return private_numbers().first; }

size_t private_fd_room() { return static_cast<size_t>(private_numbers().count); }

namespace {

Fd duplicate_from(int fd, int first) {
  const int copy = sys::fcntl(fd, F_DUPFD_CLOEXEC, first);
  if (copy < 0) return Fd();
  if (copy < kMaxFd) private_fds[copy / kBits].fetch_or(bit_of(copy));
  return Fd(copy);
}

}  // namespace

Fd private_duplicate(int fd) {
  const RaisedFdLimit raised;
  return duplicate_from(fd, raised.numbers().first);
}

Fd make_out_of_the_way(long (*make)()) {
  const RaisedFdLimit raised;
  Fd made(static_cast<int>(make()));
  if (!made) return made;
  Fd moved = duplicate_from(made.get(), raised.numbers().first);
  return moved ? std::move(moved) : std::move(made);
}

Fd move_out_of_the_way(Fd fd) {
  Fd moved = private_duplicate(fd.get());
  return moved ? std::move(moved) : std::move(fd);
}

}  // namespace underpass
