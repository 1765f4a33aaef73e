// fd_limit.cpp - raising the limit, and setting it back
#include "base/fd_limit.h"

#include <algorithm>
#include <atomic>

#include "base/sys.h"

namespace underpass {

namespace {

// Room for rings, memfds, links and the sockets that keep the ports of closed connections.
constexpr rlim_t kNumbersAbove = 4096;
// The same within the program's limit, where it cannot be raised.
constexpr rlim_t kNumbersBelow = 512;
constexpr rlim_t kFdSetSize = 1024;  // FD_SETSIZE: select(2) works below this only
// The kernel's table is as long as the highest number, and a fork copies it.
constexpr rlim_t kHighest = 65536;

std::atomic<uint32_t> locked = 0;

std::atomic<bool (*)()> handlers_wait = nullptr;

bool must_block_signals() {
  auto* const wait = handlers_wait.load(std::memory_order_relaxed);
  return wait == nullptr || !wait();
}

void change_mask(const unsigned long* wanted, unsigned long* before) {
  sys::call(SYS_rt_sigprocmask, SIG_SETMASK, sys::arg(wanted), sys::arg(before), sizeof *wanted);
}

rlimit limit_now() {
  rlimit limit{};
  sys::call(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, sys::arg(&limit));
  return limit;
}

bool set_limit(const rlimit& limit) {
  return sys::call(SYS_prlimit64, 0, RLIMIT_NOFILE, sys::arg(&limit), 0) == 0;
}

PrivateNumbers below(const rlimit& limit) {
  const rlim_t top = std::min(limit.rlim_cur, kHighest);
  const rlim_t count = top > kFdSetSize + kNumbersBelow ? kNumbersBelow : top / 4;
  return {static_cast<int>(top - count), static_cast<int>(count)};
}

PrivateNumbers above(const rlimit& limit) {
  const rlim_t first = std::max(limit.rlim_cur, kFdSetSize);
  return {static_cast<int>(first), static_cast<int>(kNumbersAbove)};
}

// The hard limit too, where that is allowed (CAP_SYS_RESOURCE); it is set back as well.
bool raise_limit(const rlimit& before, PrivateNumbers& numbers) {
  if (before.rlim_cur > kHighest - kNumbersAbove) return false;
  numbers = above(before);
  rlimit raised = before;
  raised.rlim_cur = static_cast<rlim_t>(numbers.first + numbers.count);
  raised.rlim_max = std::max(raised.rlim_max, raised.rlim_cur);
  if (set_limit(raised)) return true;
  raised = {before.rlim_max, before.rlim_max};
  const auto first = static_cast<rlim_t>(numbers.first);
  if (before.rlim_max <= first + kNumbersBelow || !set_limit(raised)) return false;
  numbers.count = static_cast<int>(before.rlim_max - first);
  return true;
}

}  // namespace

void fd_limit_ask(bool (*wait)()) { handlers_wait.store(wait, std::memory_order_relaxed); }

FdLimitLock::FdLimitLock() : blocks_(must_block_signals()) {
  const unsigned long all = ~0UL;
  if (blocks_) change_mask(&all, &mask_before_);
  while (locked.exchange(1, std::memory_order_acquire) != 0) sys::call(SYS_sched_yield);
}

FdLimitLock::~FdLimitLock() {
  locked.store(0, std::memory_order_release);
  if (blocks_) change_mask(&mask_before_, nullptr);
}

void fd_limit_prepare_fork() {
  while (locked.exchange(1, std::memory_order_acquire) != 0) sys::call(SYS_sched_yield);
}

void fd_limit_after_fork() { locked.store(0, std::memory_order_release); }

PrivateNumbers private_numbers() { return RaisedFdLimit().numbers(); }

RaisedFdLimit::RaisedFdLimit() : before_(limit_now()) {
  raised_ = raise_limit(before_, numbers_);
  if (!raised_) numbers_ = below(before_);
}

RaisedFdLimit::~RaisedFdLimit() {
  if (raised_) set_limit(before_);
}

}  // namespace underpass
