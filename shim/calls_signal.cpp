// calls_signal.cpp - the program's handlers behind ours, and its jumps out of them
#include <bit>

#include "shim/posix_border.h"
#include "shim/real.h"
#include "shim/startup.h"
#include "stack/owner_signal.h"
#include "stack/signals.h"
#include "stack/stack_mutex.h"

namespace underpass {
namespace {

constexpr int kOnce = static_cast<int>(SA_RESETHAND);
constexpr int kHandlerFlags = SA_SIGINFO | kOnce;  // those that the kernel sees changed

// siginterrupt(3): what signal(3) sets is not restarted.
std::atomic<uint64_t> interrupting{0};

bool has_handler(const struct sigaction& action) {
  return action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN;
}

struct sigaction behind_ours(const struct sigaction& action) {
  struct sigaction ours = action;
  ours.sa_sigaction = run_handler;
  ours.sa_flags = (action.sa_flags | SA_SIGINFO) & ~kOnce;
  return ours;
}

// What the program would have read back.
struct sigaction as_set(const struct sigaction& kernels, const SignalHandler& handler) {
  if (kernels.sa_sigaction != run_handler) return kernels;
  struct sigaction action = kernels;
  action.sa_sigaction = handler.run;
  action.sa_flags = (kernels.sa_flags & ~kHandlerFlags) | (handler.flags & kHandlerFlags);
  return action;
}

int change_action(int number, const struct sigaction* action, struct sigaction* old) {
  const StackLock lock;
  const SignalHandler handler_before = signal_handler(number);
  struct sigaction before {};
  struct sigaction wanted {};
  if (action != nullptr) {
    wanted = *action;
    if (has_handler(wanted)) {
      set_signal_handler(number, {action->sa_sigaction, action->sa_flags});
      wanted = behind_ours(wanted);
    }
  }
  const int done = real().sigaction(number, action == nullptr ? nullptr : &wanted, &before);
  if (done != 0) {
    set_signal_handler(number, handler_before);
  } else if (old != nullptr) {
    *old = as_set(before, handler_before);
  }
  return done;
}

sighandler_t set_handler(int number, sighandler_t handler, int flags, bool blocks_itself) {
  if (handler == SIG_ERR) {
    errno = EINVAL;
    return SIG_ERR;
  }
  struct sigaction action {};
  struct sigaction old {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  if (blocks_itself && sigaddset(&action.sa_mask, number) != 0) return SIG_ERR;
  return ::sigaction(number, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

uint64_t bit_of(int number) {
  return number >= 1 && number < NSIG ? uint64_t{1} << (number - 1) : 0;
}

// glibc stores it rotated and XORed with the thread's guard (sysdeps/x86_64/setjmp.S,
// PTR_MANGLE), in the place JB_RSP.
uintptr_t stack_pointer_of(const __jmp_buf_tag* environment) {
  constexpr int kPlace = 6;
  constexpr int kRotation = 17;
  uintptr_t guard = 0;
  asm("mov %%fs:0x30, %0" : "=r"(guard));
  return std::rotr(static_cast<uintptr_t>(environment->__jmpbuf[kPlace]), kRotation) ^ guard;
}

using LongJump = void (*)(__jmp_buf_tag*, int);

// Returns where libc's own jump is all that is needed.
template <LongJump Again>
void leave_waits(__jmp_buf_tag* environment, int value) {
  if (signal_state.landing == nullptr) return;
  jump_out_of_waits(
      {[](void* target, int result) { Again(static_cast<__jmp_buf_tag*>(target), result); },
       environment, value, stack_pointer_of(environment)});
}

}  // namespace
}  // namespace underpass

using namespace underpass;

UP_EXPORT int sigaction(int number, const struct sigaction* action,
                        struct sigaction* old) noexcept {
  if (!bypass_is_possible() || !is_deferrable(number)) {
    return real().sigaction(number, action, old);
  }
  return change_action(number, action, old);
}

UP_EXPORT int __sigaction(int number, const struct sigaction* action, struct sigaction* old) {
  return ::sigaction(number, action, old);
}

UP_EXPORT sighandler_t signal(int number, sighandler_t handler) noexcept {
  const bool ends_calls = (interrupting.load() & bit_of(number)) != 0;
  return set_handler(number, handler, ends_calls ? 0 : SA_RESTART, true);
}

UP_EXPORT sighandler_t bsd_signal(int number, sighandler_t handler) {
  return ::signal(number, handler);
}

UP_EXPORT sighandler_t ssignal(int number, sighandler_t handler) noexcept {
  return ::signal(number, handler);
}

UP_EXPORT sighandler_t __sysv_signal(int number, sighandler_t handler) noexcept {
  constexpr int kSaInterrupt = 0x20000000;  // no meaning to the kernel; read back
  return set_handler(number, handler, kOnce | SA_NODEFER | kSaInterrupt, false);
}

UP_EXPORT sighandler_t sysv_signal(int number, sighandler_t handler) noexcept {
  return ::__sysv_signal(number, handler);
}

// sigset(3): SIG_HOLD blocks the signal and leaves its action; all else unblocks it.
UP_EXPORT sighandler_t sigset(int number, sighandler_t handler) noexcept {
  sigset_t one;
  sigset_t before;
  if (sigemptyset(&one) != 0 || sigaddset(&one, number) != 0) return SIG_ERR;
  if (handler == SIG_HOLD) {
    struct sigaction old {};
    if (sigprocmask(SIG_BLOCK, &one, &before) != 0) return SIG_ERR;
    if (sigismember(&before, number) != 0) return SIG_HOLD;
    return ::sigaction(number, nullptr, &old) == 0 ? old.sa_handler : SIG_ERR;
  }
  const sighandler_t old = set_handler(number, handler, 0, false);
  if (old == SIG_ERR || sigprocmask(SIG_UNBLOCK, &one, &before) != 0) return SIG_ERR;
  return sigismember(&before, number) != 0 ? SIG_HOLD : old;
}

UP_EXPORT int siginterrupt(int number, int ends_calls) noexcept {
  struct sigaction action {};
  if (::sigaction(number, nullptr, &action) != 0) return -1;
  if (ends_calls != 0) {
    interrupting.fetch_or(bit_of(number));
    action.sa_flags &= ~SA_RESTART;
  } else {
    interrupting.fetch_and(~bit_of(number));
    action.sa_flags |= SA_RESTART;
  }
  return ::sigaction(number, &action, nullptr);
}

UP_EXPORT void longjmp(__jmp_buf_tag* environment, int value) noexcept {
  leave_waits<::longjmp>(environment, value);
  real().longjmp(environment, value);
  __builtin_unreachable();
}

UP_EXPORT void _longjmp(__jmp_buf_tag* environment, int value) noexcept {
  leave_waits<::_longjmp>(environment, value);
  real()._longjmp(environment, value);
  __builtin_unreachable();
}

UP_EXPORT void siglongjmp(__jmp_buf_tag* environment, int value) noexcept {
  leave_waits<::siglongjmp>(environment, value);
  real().siglongjmp(environment, value);
  __builtin_unreachable();
}

UP_EXPORT void __longjmp_chk(__jmp_buf_tag* environment, int value) {
  leave_waits<::__longjmp_chk>(environment, value);
  real().__longjmp_chk(environment, value);
  __builtin_unreachable();
}

// The siginfo of a SIGIO of ours is as the kernel's only here.
UP_EXPORT int sigwaitinfo(const sigset_t* set, siginfo_t* info) {
  const int number = real().sigwaitinfo(set, info);
  if (number > 0 && info != nullptr) restore_io_code(*info);
  return number;
}

UP_EXPORT int sigtimedwait(const sigset_t* set, siginfo_t* info, const timespec* timeout) {
  const int number = real().sigtimedwait(set, info, timeout);
  if (number > 0 && info != nullptr) restore_io_code(*info);
  return number;
}
