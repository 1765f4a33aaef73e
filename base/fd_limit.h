// fd_limit.h - RLIMIT_NOFILE is the program's: our descriptors are above it
//
// The kernel looks at the limit when it gives a number out, not while the number is in use. So the
// limit is raised for the moment in which a descriptor of ours gets its number, and set back. All
// who change it meanwhile wait: the program's setrlimit(2) too (shim/calls_limits.cpp).
#pragma once

#include <signal.h>
#include <sys/resource.h>

#include <cstddef>

namespace underpass {

// What says that handlers are put off in this thread already. Set once, at the start.
void fd_limit_ask(bool (*handlers_wait)());

// Nobody else changes the limit while it lives. No handler of the program runs in this thread, as
// it might want the same. Short: no call that waits.
//
// Signals are blocked for that only where nothing else puts handlers off: a thread that blocks and
// unblocks them takes, at that moment, one that the kernel has meant for another.
class FdLimitLock {
 public:
  FdLimitLock();
  ~FdLimitLock();
  FdLimitLock(const FdLimitLock&) = delete;
  FdLimitLock& operator=(const FdLimitLock&) = delete;

 private:
  const bool blocks_;
  unsigned long mask_before_ = 0;
};

// Around fork(2): the child's copy of the lock is free, and its limit the program's.
void fd_limit_prepare_fork();
void fd_limit_after_fork();

// Where our numbers are: beyond the program's limit where that can be raised, else its last ones.
struct PrivateNumbers {
  int first = 0;
  int count = 0;
};
PrivateNumbers private_numbers();

// While it lives, numbers up to the last of private_numbers() are given out, if that can be had.
class RaisedFdLimit {
 public:
  RaisedFdLimit();
  ~RaisedFdLimit();
  RaisedFdLimit(const RaisedFdLimit&) = delete;
  RaisedFdLimit& operator=(const RaisedFdLimit&) = delete;

  const PrivateNumbers& numbers() const { return numbers_; }

 private:
  FdLimitLock lock_;
  rlimit before_{};
  PrivateNumbers numbers_;
  bool raised_ = false;
};

}  // namespace underpass
