// signals.h - when a handler of the program may run: never while this thread is inside the stack
//
// The kernel calls run_handler(), which runs the program's handler at once, or, while its thread
// holds or waits for a lock of ours, puts the signal back: queued to the thread with its siginfo
// and blocked, until the last lock is given back. So a handler may call us, and may jump away. All
// state is the thread's own; the table of handlers may be changed by one thread at a time.
#pragma once

#include <signal.h>

#include <atomic>
#include <cstdint>

namespace underpass {

struct Landing;

// Written by a handler in the middle of our code: atomic for that, never shared.
struct SignalState {
  std::atomic<int> inside = 0;           // locks held or waited for
  std::atomic<uint64_t> deferred = 0;    // put back; bit n-1 is signal n
  std::atomic<uint64_t> to_unblock = 0;  // of them: the program had not blocked it
  std::atomic<int> wake_fd = -1;         // an eventfd that ends this thread's sleep
  uint32_t handled = 0;
  uint32_t handled_without_restart = 0;
  Landing* landing = nullptr;  // of the innermost wait that lets handlers run
};
// Plain loads and stores: the compiler knows that there is no constructor.
extern constinit thread_local SignalState signal_state;

// ---- inside and outside

inline void enter_stack() {
  std::atomic<int>& inside = signal_state.inside;
  inside.store(inside.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

void deliver_at_exit();

inline void leave_stack() {
  std::atomic_signal_fence(std::memory_order_seq_cst);
  const int left = signal_state.inside.load(std::memory_order_relaxed) - 1;
  signal_state.inside.store(left, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (left == 0 && signal_state.deferred.load(std::memory_order_relaxed) != 0) deliver_at_exit();
}

// Whether this thread is inside.
inline bool handlers_wait() { return signal_state.inside.load(std::memory_order_relaxed) != 0; }

// ---- waits

// The deferred signals that a wait with this mask (as in ppoll(2), or null) lets in.
uint64_t deliverable(const sigset_t* mask);

// Runs the handlers of deliverable(mask), with the lock free. False: none ran, as the program has
// taken its handler away meanwhile. Where one jumps out, the call that waits is unwound (so there
// must be no noexcept between it and here), and this does not return.
bool deliver_signals(const sigset_t* mask);

// A system call that blocks, with the lock free: handlers run in the middle of it, and what has
// been deferred before it. -EINTR: a handler has run before the call could begin.
long let_signals_in(const sigset_t* mask, long (*call)(void*), void* argument);

template <class Call>
int with_signals_let_in(const sigset_t* mask, Call& call) {
  auto plain = [](void* self) -> long { return (*static_cast<Call*>(self))(); };
  return static_cast<int>(let_signals_in(mask, plain, &call));
}

// After a wait that a signal has ended: true when its handler wants calls restarted (SA_RESTART,
// sigaction(2)), for several signals when all do. A handler that was set without libc is not known
// here; then every handler of the process is looked at, at 64 system calls.
bool interrupted_call_restarts();
void forget_interruption();

// A thread that is about to sleep: the signal that comes before it does ends the sleep.
class SignalWakes {
 public:
  explicit SignalWakes(int event_fd) {
    signal_state.wake_fd.store(event_fd, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  ~SignalWakes() { signal_state.wake_fd.store(-1, std::memory_order_relaxed); }
  SignalWakes(const SignalWakes&) = delete;
  SignalWakes& operator=(const SignalWakes&) = delete;
};

// ---- jumps

// siglongjmp(3) and its siblings: libc's own function is called through it.
struct Jump {
  void (*to)(void* environment, int value);
  void* environment;
  int value;
  uintptr_t stack_pointer;  // of the frame that it goes to
};
// Returns if the jump passes over no wait of ours. Else gives back what those waits hold, then
// jumps (calls `to`).
void jump_out_of_waits(const Jump& jump);

// ---- the program's handlers

struct SignalHandler {
  void (*run)(int, siginfo_t*, void*) = nullptr;
  int flags = 0;
};

// From now on `run`, which must not return, is called for it wherever it comes, and nothing of the
// program's. One that is pending is forgotten.
void seize_signal(int number, void (*run)(int));

// False: its handler is the kernel's to call. Faults of the program must be handled at once
// (SIGSEGV and the like), and 32 and 33 are glibc's own.
bool is_deferrable(int number);
// What the kernel is to call.
void run_handler(int number, siginfo_t* info, void* context);
SignalHandler signal_handler(int number);
void set_signal_handler(int number, const SignalHandler& handler);

}  // namespace underpass
