// process_exit.cpp - a program ends: what it has sent arrives first
#include <sys/time.h>

#include <algorithm>

#include "base/sys.h"
#include "stack/clock.h"
#include "stack/process.h"

namespace underpass {

namespace {

// A peer that takes nothing for so long is given up; after the second, all are.
constexpr uint64_t kPatienceNs = 2 * kNsPerS;
constexpr uint64_t kLingerNs = 60 * kNsPerS;
// A connection that is being opened to a listener of several processes would be nobody's. Its peer,
// which may be a busy process, has answered by then.
constexpr uint64_t kLeaveNs = 3 * kNsPerS;
// Others hold the lock for microseconds, and one look takes no longer; but the machine may be busy,
// and others may be quicker to take the lock again. After this long, _exit comes out of a handler
// that has interrupted the holder of this lock (a fault's), or of malloc's.
constexpr uint64_t kStuckNs = 2 * kNsPerS;

class Linger {
 public:
  // Closes everything at the first look. False: there is nothing more to wait for.
  bool goes_on(Stack& stack) UP_REQUIRES(stack_mutex) {
    const uint64_t now = monotonic_ns();
    if (started_ns_ == 0) {
      started_ns_ = progress_ns_ = now;
      stack.drive(now);
      stack.leave_listeners();
      stack.move_all_out();
      stack.close_all();
    }
    stack.drive(now);
    const uint64_t left = stack.unacknowledged_bytes();
    if (left < left_) progress_ns_ = now;
    left_ = left;
    if (stack.has_leaving_listeners() && now - started_ns_ < kLeaveNs) return true;
    return left != 0 && now - progress_ns_ < kPatienceNs && now - started_ns_ < kLingerNs;
  }

  static void pause() {
    timespec rest{0, 200'000};
    sys::call(SYS_nanosleep, sys::arg(&rest), 0);
  }

 private:
  uint64_t started_ns_ = 0;
  uint64_t progress_ns_ = 0;
  uint64_t left_ = UINT64_MAX;
};

// ---- the watchdog of _exit

int status_at_exit = 0;

void end_now(int) { sys::call(SYS_exit_group, status_at_exit); }

void wind_watchdog(uint64_t ns) {
  const itimerval timer{
      {0, 0},
      {static_cast<time_t>(ns / kNsPerS), static_cast<suseconds_t>(ns % kNsPerS / kNsPerUs)}};
  sys::call(SYS_setitimer, ITIMER_REAL, sys::arg(&timer), 0);
}

// SIGALRM ends the process from now on: the program's timer and handlers have nothing more to say.
void set_watchdog(int status) {
  status_at_exit = status;
  wind_watchdog(0);
  seize_signal(SIGALRM, end_now);
}

}  // namespace

void process_leave_listeners() {
  const uint64_t until_ns = monotonic_ns() + kLeaveNs;
  for (;;) {
    {
      StackLock lock;
      Stack* const stack = Process::instance().stack();
      if (stack == nullptr || !stack->has_leaving_listeners()) return;
      const uint64_t now_ns = monotonic_ns();
      if (now_ns >= until_ns) return;
      stack->drive(now_ns);
    }
    Linger::pause();
  }
}

void process_exit() {
  Process& process = Process::instance();
  Linger linger;
  for (;;) {
    {
      StackLock lock;
      Stack* stack = process.stack_.get();
      if (stack == nullptr || !linger.goes_on(*stack)) return;
    }
    Linger::pause();
  }
}

// The lock is kept: on the kernel no other thread would run any more.
void process_leave(int status) UP_NO_THREAD_SAFETY {
  Process& process = Process::instance();
  if (process.owner_pid_.load() != sys::getpid()) return;
  set_watchdog(status);
  wind_watchdog(kStuckNs);
  stack_mutex.lock();
  wind_watchdog(kStuckNs);
  Linger linger;
  while (linger.goes_on(*process.stack_)) {
    Linger::pause();
    wind_watchdog(kStuckNs);
  }
}

}  // namespace underpass
