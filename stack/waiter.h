// waiter.h - how a thread waits for sockets: spin on the rings, then sleep with the program's other
// fds
#pragma once

#include <poll.h>
#include <signal.h>

#include <atomic>
#include <cstdint>
#include <span>

#include "stack/readiness.h"
#include "stack/stack_mutex.h"

namespace underpass {

class Stack;

// A point in CLOCK_MONOTONIC; `never` for no limit.
struct Deadline {
  uint64_t at_ns = UINT64_MAX;
  static Deadline never() { return {}; }
  static Deadline in_ns(uint64_t duration_ns);
  bool passed() const;
};

// One call that waits. Sources are watched through WaiterObservations (any number); a notification
// from any of them ends wait(). Lives on the caller's stack.
class Waiter {
 public:
  enum class Woke {
    kNotified,  // a watched source said something: look again (also when it did before the call)
    kKernel,    // kernel_fds' revents hold at least one event
    kTimeout,
    kSignal,  // a signal was handled: EINTR
  };

  // Called with the lock held, returns with it held; drives the stack meanwhile. Returns at once
  // when notified since the last wait(). `kernel_fds` are polled rarely while spinning and always
  // before and during sleep, and may get other numbers meanwhile, under the lock; `mask` as in
  // ppoll(2), applied atomically, or null.
  // A handler of the program runs in here, without the lock, and may jump away: no noexcept above.
  Woke wait(std::span<pollfd> kernel_fds, Deadline deadline, const sigset_t* mask)
      UP_REQUIRES(stack_mutex);

  void wake() UP_REQUIRES(stack_mutex);
  // Asleep, it looks again at what it sleeps on; nothing has happened otherwise.
  void nudge() UP_REQUIRES(stack_mutex);

 private:
  Woke wait_for_anything(std::span<pollfd> kernel_fds, Deadline deadline, const sigset_t* mask)
      UP_REQUIRES(stack_mutex);
  // True when it need not sleep; `woke` says why.
  bool spin(std::span<pollfd> kernel_fds, Deadline deadline, const sigset_t* mask, Woke& woke)
      UP_REQUIRES(stack_mutex);
  void look_out(const Stack& stack) UP_REQUIRES(stack_mutex);
  Woke sleep(std::span<pollfd> kernel_fds, Deadline deadline, const sigset_t* mask)
      UP_REQUIRES(stack_mutex);

  std::atomic<bool> notified_ = false;  // written under the lock, read without it while spinning
  bool asleep_ = false;
  int event_fd_ = -1;
};

// Wakes a Waiter at every notification that has one of `events` (or kClosed, kPlacementChanged).
class WaiterObservation : public Observation {
 public:
  WaiterObservation(Waiter& waiter, Readiness events) : waiter_(waiter), events_(events) {}
  void notify(Readiness events) UP_REQUIRES(stack_mutex) override {
    if (events & (events_ | EPOLLERR | EPOLLHUP | kClosed | kPlacementChanged)) waiter_.wake();
  }

 private:
  Waiter& waiter_;
  Readiness events_;
};

// How a waiter sleeps: libc's own ppoll(3), which is a cancellation point, where the shim has it
// (by default the bare system call). Set before there are threads.
using SleepCall = int (*)(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask);
void set_sleep_call(SleepCall call);

// Process::attach() by who holds the lock, which is free meanwhile.
bool attach_unlocked() UP_REQUIRES(stack_mutex);

// Handles what has arrived and what is due, and sends what that produced; no waiting. What every
// call on a bypassed socket and every epoll_wait(…, 0) starts with.
void drive_stack() UP_REQUIRES(stack_mutex);

}  // namespace underpass
