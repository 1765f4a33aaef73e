// waiter.cpp - spin on the rings, then sleep in one ppoll(2)
#include "stack/waiter.h"

#include <algorithm>
#include <cerrno>
#include <vector>

#include "stack/clock.h"
#include "stack/process.h"

namespace underpass {

namespace {

// While spinning, the program's kernel descriptors are asked this often: a system call each.
constexpr uint64_t kKernelPollNs = 20 * kNsPerUs;
// A sleeper that nobody can wake, as there is no descriptor left for its eventfd, looks this often.
constexpr uint64_t kUnwakeableSleepNs = 1 * kNsPerMs;
// Looks at the rings with the lock free, so that another thread gets it: under a microsecond.
constexpr int kLooksUnlocked = 16;

SleepCall sleep_call = nullptr;

// A cancelled thread unwinds through this and what stands above it, so the lock is back in every
// destructor.
class Unlocked {
 public:
  Unlocked() UP_NO_THREAD_SAFETY { stack_mutex.unlock_and_stay_inside(); }
  ~Unlocked() UP_NO_THREAD_SAFETY { stack_mutex.lock_from_inside(); }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;
};

class WaitingThread {
 public:
  WaitingThread() UP_NO_THREAD_SAFETY { Process::instance().enter_wait(); }
  ~WaitingThread() UP_NO_THREAD_SAFETY { Process::instance().leave_wait(); }
  WaitingThread(const WaitingThread&) = delete;
  WaitingThread& operator=(const WaitingThread&) = delete;
};

class LentEventFd {
 public:
  explicit LentEventFd(int& fd) UP_NO_THREAD_SAFETY : fd_(fd) {
    fd_ = Process::instance().take_event_fd();
  }
  ~LentEventFd() UP_NO_THREAD_SAFETY {
    Process::instance().give_back_event_fd(fd_);
    fd_ = -1;
  }
  LentEventFd(const LentEventFd&) = delete;
  LentEventFd& operator=(const LentEventFd&) = delete;

 private:
  int& fd_;
};

// The program's descriptors and ours in one array: on the stack unless there are many.
class PollArray {
 public:
  explicit PollArray(std::span<pollfd> program) {
    if (program.size() + kOwn > kInline) heap_.resize(program.size() + kOwn);
    at_ = heap_.empty() ? inline_ : heap_.data();
    for (const pollfd& fd : program) at_[count_++] = fd;
  }
  // Those of the program come first.
  void renew(std::span<const pollfd> program) { std::copy(program.begin(), program.end(), at_); }
  void add(int fd) {
    if (fd >= 0) at_[count_++] = {fd, POLLIN, 0};
  }
  void cut_to(size_t count) { count_ = count; }
  pollfd* data() { return at_; }
  size_t size() const { return count_; }

 private:
  static constexpr size_t kOwn = kMaxQueues + 2;
  static constexpr size_t kInline = 64;
  pollfd inline_[kInline];
  std::vector<pollfd> heap_;
  pollfd* at_ = nullptr;
  size_t count_ = 0;
};

void add_rings(PollArray& fds) UP_REQUIRES(stack_mutex) {
  Attachment* const attachment = Process::instance().attachment();
  if (attachment == nullptr) return;
  for (int fd : attachment->port().poll_fds()) fds.add(fd);
  if (attachment->broker_alive()) fds.add(attachment->notify_fd());
}

class AsleepThread {
 public:
  explicit AsleepThread(Waiter& waiter) UP_NO_THREAD_SAFETY : waiter_(waiter) {
    Process::instance().enter_sleep(waiter_);
  }
  ~AsleepThread() UP_NO_THREAD_SAFETY { Process::instance().leave_sleep(waiter_); }
  AsleepThread(const AsleepThread&) = delete;
  AsleepThread& operator=(const AsleepThread&) = delete;

 private:
  Waiter& waiter_;
};

// As ppoll(2): -errno on failure.
int sleep_in_kernel(std::span<pollfd> fds, const timespec* limit, const sigset_t* mask) {
  const Unlocked unlocked;
  if (sleep_call == nullptr) {
    timespec copy = limit == nullptr ? timespec{} : *limit;
    return sys::ppoll(fds.data(), fds.size(), limit == nullptr ? nullptr : &copy, mask);
  }
  const int saved = errno;
  const int ready = sleep_call(fds.data(), fds.size(), limit, mask);
  const int result = ready < 0 ? -errno : ready;
  errno = saved;
  return result;
}

bool poll_kernel_now(std::span<pollfd> fds) {
  timespec zero{};
  return !fds.empty() && sys::ppoll(fds.data(), fds.size(), &zero, nullptr) > 0;
}

}  // namespace

Deadline Deadline::in_ns(uint64_t duration_ns) {
  const uint64_t now = monotonic_ns();
  return {duration_ns > UINT64_MAX - now ? UINT64_MAX : now + duration_ns};
}

bool Deadline::passed() const { return at_ns != UINT64_MAX && monotonic_ns() >= at_ns; }

bool attach_unlocked() UP_NO_THREAD_SAFETY {
  const Unlocked unlocked;
  return Process::instance().attach().ok();
}

void drive_stack() {
  Stack* stack = Process::instance().stack();
  if (stack != nullptr) stack->drive(monotonic_ns());
}

void set_sleep_call(SleepCall call) { sleep_call = call; }

void Waiter::nudge() {
  const uint64_t one = 1;
  if (asleep_) sys::write(event_fd_, &one, sizeof one);
}

void Waiter::wake() {
  notified_ = true;
  if (!asleep_) return;
  asleep_ = false;  // one write is enough
  const uint64_t one = 1;
  sys::write(event_fd_, &one, sizeof one);
}

Waiter::Woke Waiter::wait(std::span<pollfd> kernel_fds, Deadline deadline, const sigset_t* mask) {
  forget_interruption();
  for (;;) {
    const Woke woke = wait_for_anything(kernel_fds, deadline, mask);
    if (woke == Woke::kNotified) notified_ = false;
    if (woke != Woke::kSignal || deliverable(mask) == 0) return woke;
    // Nothing of this wait is left for others to see: a handler may itself wait, for a long time.
    const Unlocked unlocked;
    if (deliver_signals(mask)) return woke;
  }
}

Waiter::Woke Waiter::wait_for_anything(std::span<pollfd> kernel_fds, Deadline deadline,
                                       const sigset_t* mask) {
  const WaitingThread waiting;
  Woke woke{};
  if (!spin(kernel_fds, deadline, mask, woke)) woke = sleep(kernel_fds, deadline, mask);
  return woke;
}

bool Waiter::spin(std::span<pollfd> kernel_fds, Deadline deadline, const sigset_t* mask,
                  Woke& woke) {
  Process& process = Process::instance();
  Stack* stack = process.stack();
  if (notified_) {
    woke = Woke::kNotified;
    return true;
  }
  if (stack == nullptr) return false;
  const uint64_t start = monotonic_ns();
  stack->drive(start);
  if (notified_) {
    woke = Woke::kNotified;
    return true;
  }
  const uint64_t budget = process.spin().budget_ns();
  if (budget == 0) return false;
  uint64_t kernel_polled = start;
  for (uint64_t now = start; now - start < budget; now = monotonic_ns()) {
    if (now >= deadline.at_ns) {
      woke = Woke::kTimeout;
      return true;
    }
    if (now - kernel_polled >= kKernelPollNs) {
      kernel_polled = now;
      if (poll_kernel_now(kernel_fds)) {
        woke = Woke::kKernel;
        return true;
      }
    }
    stack->drive(now);
    if (notified_) {
      process.spin().found();
      stack->counters().spins.fetch_add(1, std::memory_order_relaxed);
      woke = Woke::kNotified;
      return true;
    }
    look_out(*stack);
    if (notified_) {
      woke = Woke::kNotified;
      return true;
    }
    if (deliverable(mask) != 0) {
      woke = Woke::kSignal;
      return true;
    }
  }
  process.spin().missed();
  return false;
}

// Until a frame is there: a look is two loads, and what comes is seen within tens of nanoseconds.
void Waiter::look_out(const Stack& stack) {
  const Unlocked unlocked;
  for (int i = 0; i < kLooksUnlocked && !stack.readable() && !notified_; ++i) {
    __builtin_ia32_pause();
  }
}

Waiter::Woke Waiter::sleep(std::span<pollfd> kernel_fds, Deadline deadline, const sigset_t* mask) {
  Process& process = Process::instance();
  PollArray fds(kernel_fds);
  const LentEventFd lent(event_fd_);
  fds.add(event_fd_);
  const size_t without_rings = fds.size();
  const AsleepThread asleep(*this);
  const SignalWakes signal_wakes(event_fd_);
  for (;;) {
    if (deliverable(mask) != 0) return Woke::kSignal;
    Stack* stack = process.stack();
    const bool on_rings = process.sleeps_on_rings(*this);
    // Anew each time: another broker has others, and the descriptor of one that has gone is
    // readable for ever.
    fds.cut_to(without_rings);
    if (on_rings) add_rings(fds);
    uint64_t due = deadline.at_ns;
    if (on_rings && stack != nullptr) due = std::min(due, process.ring_deadline_ns());
    if (event_fd_ < 0) due = std::min(due, monotonic_ns() + kUnwakeableSleepNs);
    timespec limit{};
    if (due != UINT64_MAX) {
      const uint64_t now = monotonic_ns();
      limit = to_timespec(due > now ? due - now : 0);
    }
    if (stack != nullptr) stack->counters().sleeps.fetch_add(1, std::memory_order_relaxed);
    asleep_ = true;
    const int ready =
        sleep_in_kernel({fds.data(), fds.size()}, due == UINT64_MAX ? nullptr : &limit, mask);
    asleep_ = false;
    if (on_rings && process.attachment() != nullptr) process.attachment()->drain_notify();
    if (stack != nullptr) stack->drive(monotonic_ns());
    bool kernel_ready = false;
    for (size_t i = 0; i < kernel_fds.size(); ++i) {
      // Of a number that is closed by now ppoll(2) says POLLNVAL, whatever it has woken for.
      const bool renumbered = fds.data()[i].fd != kernel_fds[i].fd;
      kernel_fds[i].revents = ready > 0 && !renumbered ? fds.data()[i].revents : short{0};
      kernel_ready = kernel_ready || kernel_fds[i].revents != 0;
    }
    if (notified_) return Woke::kNotified;
    if (kernel_ready) return Woke::kKernel;
    // Also a handler that the program has set without libc.
    if (ready == -EINTR) return Woke::kSignal;
    if (monotonic_ns() >= deadline.at_ns) return Woke::kTimeout;
    uint64_t nudges = 0;
    sys::read(event_fd_, &nudges, sizeof nudges);
    fds.renew(kernel_fds);
  }
}

}  // namespace underpass
