// fd_sets.cpp - bits and events, as fs/select.c has them
#include "shim/fd_sets.h"

#include <algorithm>

#include "base/user_pointer.h"
#include "shim/fd_table.h"

namespace underpass {

namespace {

// fs/select.c: POLLIN_SET, POLLOUT_SET, POLLEX_SET.
constexpr short kReadEvents = POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR | POLLNVAL;
constexpr short kWriteEvents = POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR | POLLNVAL;
constexpr short kExceptEvents = POLLPRI | POLLNVAL;

size_t words(int count) { return (static_cast<size_t>(count) + NFDBITS - 1) / NFDBITS; }

bool is_set(const fd_set* set, int fd) {
  if (set == nullptr) return false;
  const auto* at = reinterpret_cast<const unsigned long*>(set);
  return (at[fd / NFDBITS] >> (fd % NFDBITS) & 1U) != 0;
}

void clear(fd_set* set, int count) {
  if (set == nullptr) return;
  std::fill_n(reinterpret_cast<unsigned long*>(set), words(count), 0UL);
}

int mark(fd_set* set, int fd) {
  auto* at = reinterpret_cast<unsigned long*>(set);
  at[fd / NFDBITS] |= 1UL << (fd % NFDBITS);
  return 1;
}

}  // namespace

bool are_user_memory(const FdSets& sets, int count) {
  if (count <= 0) return true;
  const size_t bytes = words(count) * sizeof(unsigned long);
  for (const fd_set* set : {sets.read, sets.write, sets.except}) {
    if (set != nullptr && !is_user_memory(set, bytes)) return false;
  }
  return true;
}

bool any_ours(const FdSets& sets, int count) {
  for (int fd = 0; fd < count; ++fd) {
    if (!FdTable::maybe_ours(fd)) continue;
    if (is_set(sets.read, fd) || is_set(sets.write, fd) || is_set(sets.except, fd)) return true;
  }
  return false;
}

std::vector<pollfd> pollfds_of(const FdSets& sets, int count) {
  std::vector<pollfd> fds;
  for (int fd = 0; fd < count; ++fd) {
    short events = 0;
    if (is_set(sets.read, fd)) events |= kReadEvents;
    if (is_set(sets.write, fd)) events |= kWriteEvents;
    if (is_set(sets.except, fd)) events |= kExceptEvents;
    if (events != 0) fds.push_back({fd, events, 0});
  }
  return fds;
}

int write_back(const std::vector<pollfd>& fds, const FdSets& sets, int count) {
  clear(sets.read, count);
  clear(sets.write, count);
  clear(sets.except, count);
  int bits = 0;
  for (const pollfd& one : fds) {
    if ((one.events & POLLIN) && (one.revents & kReadEvents)) bits += mark(sets.read, one.fd);
    if ((one.events & POLLOUT) && (one.revents & kWriteEvents)) bits += mark(sets.write, one.fd);
    if ((one.events & POLLPRI) && (one.revents & kExceptEvents)) bits += mark(sets.except, one.fd);
  }
  return bits;
}

}  // namespace underpass
