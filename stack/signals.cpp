// signals.cpp - handlers put off, let in, and jumped out of
#include "stack/signals.h"

#include <ucontext.h>
#include <unwind.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/sys.h"
#include "stack/owner_signal.h"

namespace underpass {

constinit thread_local SignalState signal_state;

// Where a handler's jump out of a wait comes first.
struct Landing {
  void* place[5];  // __builtin_setjmp()'s
  Landing* outer;
  int inside;
};

namespace {

// struct sigaction of the kernel (arch/x86/include/uapi/asm/signal.h, asm-generic/signal.h).
struct KernelSigaction {
  void* handler;
  unsigned long flags;
  void* restorer;
  unsigned long mask;
};
constexpr long kKernelSigsetBytes = 8;
constexpr int kLastSignal = 64;
// glibc's own (nptl): cancellation and setuid; their handlers return into what they interrupted.
constexpr int kFirstInternal = 32;
constexpr int kLastInternal = 33;

// What ended this thread's last interrupted wait.
enum class Interruption { kUnknown, kRestarts, kEnds };
constinit thread_local Interruption interruption = Interruption::kUnknown;
constinit thread_local Jump pending_jump{};
constinit thread_local _Unwind_Exception unwinding{};

struct Entry {
  std::atomic<void (*)(int, siginfo_t*, void*)> run;
  std::atomic<int> flags;
};
constinit Entry entries[kLastSignal + 1];

uint64_t bit_of(int number) { return uint64_t{1} << (number - 1); }

uint64_t bits_of(const sigset_t* mask) {
  uint64_t bits = 0;
  if (mask != nullptr) std::memcpy(&bits, mask, sizeof bits);
  return bits;
}

void change_mask(int how, uint64_t bits) {
  sys::call(SYS_rt_sigprocmask, how, sys::arg(&bits), 0, kKernelSigsetBytes);
}

bool has_handler(const KernelSigaction& action) {
  return action.handler != reinterpret_cast<void*>(SIG_DFL) &&
         action.handler != reinterpret_cast<void*>(SIG_IGN);
}

bool queue_to_self(int number, const siginfo_t* info) {
  return sys::call(SYS_rt_tgsigqueueinfo, sys::getpid(), sys::gettid(), number, sys::arg(info)) ==
         0;
}

// False where the kernel has no room for it (RLIMIT_SIGPENDING).
bool put_back(int number, const siginfo_t* info, ucontext_t& interrupted) {
  SignalState& state = signal_state;
  const uint64_t bit = bit_of(number);
  change_mask(SIG_BLOCK, bit);  // SA_NODEFER: it would come at once
  if (!queue_to_self(number, info)) return false;
  uint64_t mask = bits_of(&interrupted.uc_sigmask);
  if ((mask & bit) == 0) {
    mask |= bit;
    std::memcpy(&interrupted.uc_sigmask, &mask, sizeof mask);
    state.to_unblock.fetch_or(bit, std::memory_order_relaxed);
  }
  state.deferred.fetch_or(bit, std::memory_order_relaxed);
  const int wake_fd = state.wake_fd.load(std::memory_order_relaxed);
  const uint64_t one = 1;
  if (wake_fd >= 0) sys::write(wake_fd, &one, sizeof one);
  return true;
}

// SA_RESETHAND, as get_signal() does it (kernel/signal.c): flags and mask stay.
void reset_action(int number, int program_flags) {
  KernelSigaction action{};
  sys::call(SYS_rt_sigaction, number, 0, sys::arg(&action), kKernelSigsetBytes);
  constexpr unsigned long kOurs = SA_SIGINFO | SA_RESETHAND;
  action.handler = reinterpret_cast<void*>(SIG_DFL);
  action.flags = (action.flags & ~kOurs) | (static_cast<unsigned>(program_flags) & kOurs);
  sys::call(SYS_rt_sigaction, number, sys::arg(&action), 0, kKernelSigsetBytes);
}

// The kernel lets the signals in that were put back. Those that only `mask` lets in were blocked
// before the wait, and stay so after it.
void let_in(const sigset_t* mask) {
  SignalState& state = signal_state;
  const uint64_t now = deliverable(mask);
  state.deferred.fetch_and(~now, std::memory_order_relaxed);
  const uint64_t unblock = state.to_unblock.fetch_and(~now, std::memory_order_relaxed) & now;
  if (unblock != 0) change_mask(SIG_UNBLOCK, unblock);
  timespec zero{};
  if ((now & ~unblock) != 0 && mask != nullptr) sys::ppoll(nullptr, 0, &zero, mask);
}

// Outside for its time. A jump does the same as its destructor, a cancelled thread runs it.
class Outside {
 public:
  explicit Outside(Landing& landing) : landing_(landing) {
    SignalState& state = signal_state;
    landing.outer = state.landing;
    landing.inside = state.inside.load(std::memory_order_relaxed);
    state.landing = &landing;
    state.inside.store(0, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  ~Outside() { leave(landing_); }
  Outside(const Outside&) = delete;
  Outside& operator=(const Outside&) = delete;

  static void leave(const Landing& landing) {
    SignalState& state = signal_state;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    state.inside.store(landing.inside, std::memory_order_relaxed);
    state.landing = landing.outer;
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }

 private:
  Landing& landing_;
};

void remember_interruption(uint32_t without_restart_before) {
  interruption = signal_state.handled_without_restart == without_restart_before
                     ? Interruption::kRestarts
                     : Interruption::kEnds;
}

struct LetIn {
  const sigset_t* mask;
  long (*call)(void*);  // null: none
  void* argument;
  long result;
};

// A handler that has run is the result -EINTR.
void let_in_during(Landing& landing, LetIn& what) {
  const Outside outside(landing);
  const SignalState& state = signal_state;
  const uint32_t handled = state.handled;
  const uint32_t without_restart = state.handled_without_restart;
  let_in(what.mask);
  if (state.handled != handled) {
    remember_interruption(without_restart);
    what.result = -EINTR;
  } else if (what.call != nullptr) {
    what.result = what.call(what.argument);
  }
}

// False: a handler has jumped here.
[[gnu::noinline]] bool let_in_above(Landing& landing, LetIn& what) {
  if (__builtin_setjmp(landing.place) != 0) return false;
  let_in_during(landing, what);
  return true;
}

// Before each frame's destructors: when all locks have been given back, the frames that remain are
// the program's, or hold nothing.
_Unwind_Reason_Code jump_when_outside(int, _Unwind_Action actions, _Unwind_Exception_Class,
                                      _Unwind_Exception*, _Unwind_Context*, void*) {
  if (signal_state.inside.load(std::memory_order_relaxed) == 0) {
    pending_jump.to(pending_jump.environment, pending_jump.value);
  }
  return (actions & _UA_END_OF_STACK) != 0 ? _URC_END_OF_STACK : _URC_NO_REASON;
}

[[noreturn]] void unwind_and_jump() {
  unwinding = {};
  _Unwind_ForcedUnwind(&unwinding, jump_when_outside, nullptr);
  std::abort();  // our own frames can always be unwound
}

// The stack that sigaltstack(2) names, if this runs on it.
bool is_on_alternate_stack(const stack_t& alternate, uintptr_t address) {
  const auto start = reinterpret_cast<uintptr_t>(alternate.ss_sp);
  return (alternate.ss_flags & SS_ONSTACK) != 0 && address >= start &&
         address - start < alternate.ss_size;
}

// True when the jump goes to a frame that is older than the wait.
bool passes_over(const Landing& landing, uintptr_t target) {
  stack_t alternate{};
  sys::call(SYS_sigaltstack, 0, sys::arg(&alternate));
  const auto wait = reinterpret_cast<uintptr_t>(&landing);
  const bool wait_there = is_on_alternate_stack(alternate, wait);
  const bool target_there = is_on_alternate_stack(alternate, target);
  return wait_there == target_there ? target > wait : wait_there;
}

}  // namespace

// ---- delivery

uint64_t deliverable(const sigset_t* mask) {
  return signal_state.deferred.load(std::memory_order_relaxed) & ~bits_of(mask);
}

void deliver_at_exit() { let_in(nullptr); }

bool deliver_signals(const sigset_t* mask) {
  return let_signals_in(mask, nullptr, nullptr) == -EINTR;
}

long let_signals_in(const sigset_t* mask, long (*call)(void*), void* argument) {
  Landing landing;
  LetIn what{mask, call, argument, 0};
  if (!let_in_above(landing, what)) unwind_and_jump();
  return what.result;
}

void forget_interruption() { interruption = Interruption::kUnknown; }

bool interrupted_call_restarts() {
  if (interruption != Interruption::kUnknown) return interruption == Interruption::kRestarts;
  for (int number = 1; number <= kLastSignal; ++number) {
    if (number >= kFirstInternal && number <= kLastInternal) continue;
    KernelSigaction action{};
    const long got = sys::call(SYS_rt_sigaction, number, 0, sys::arg(&action), kKernelSigsetBytes);
    if (got == 0 && has_handler(action) && (action.flags & SA_RESTART) == 0) return false;
  }
  return true;
}

void jump_out_of_waits(const Jump& jump) {
  Landing* const landing = signal_state.landing;
  if (landing == nullptr || !passes_over(*landing, jump.stack_pointer)) return;
  pending_jump = jump;
  Outside::leave(*landing);
  __builtin_longjmp(landing->place, 1);
}

// ---- the program's handlers

void seize_signal(int number, void (*run)(int)) {
  constexpr unsigned long kSaRestorer = 0x04000000;  // x86-64 wants one, and here it is never used
  KernelSigaction action{};
  action.handler = reinterpret_cast<void*>(SIG_IGN);  // takes away what is pending
  sys::call(SYS_rt_sigaction, number, sys::arg(&action), 0, kKernelSigsetBytes);
  action.handler = action.restorer = reinterpret_cast<void*>(run);
  action.flags = kSaRestorer;
  sys::call(SYS_rt_sigaction, number, sys::arg(&action), 0, kKernelSigsetBytes);
  change_mask(SIG_UNBLOCK, bit_of(number));
}

bool is_deferrable(int number) {
  switch (number) {
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGTRAP:
    case SIGSYS:
    case SIGABRT:
      return false;
    default:
      return number >= 1 && number <= kLastSignal &&
             (number < kFirstInternal || number > kLastInternal);
  }
}

SignalHandler signal_handler(int number) {
  const Entry& entry = entries[number];
  return {entry.run.load(), entry.flags.load()};
}

void set_signal_handler(int number, const SignalHandler& handler) {
  entries[number].flags.store(handler.flags);
  entries[number].run.store(handler.run);
}

void run_handler(int number, siginfo_t* info, void* context) {
  SignalState& state = signal_state;
  if (state.inside.load(std::memory_order_relaxed) != 0 &&
      put_back(number, info, *static_cast<ucontext_t*>(context))) {
    return;
  }
  Entry& entry = entries[number];
  const int flags = entry.flags.load();
  const bool once = (static_cast<unsigned>(flags) & SA_RESETHAND) != 0;
  auto* const run = once ? entry.run.exchange(nullptr) : entry.run.load();
  if (once) reset_action(number, flags);
  if (run == nullptr) {
    // Another thread has had the one call: this one meets the default action.
    queue_to_self(number, info);
    return;
  }
  ++state.handled;
  if ((flags & SA_RESTART) == 0) ++state.handled_without_restart;
  restore_io_code(*info);
  run(number, info, context);
}

}  // namespace underpass
