// signals.cpp - asks the kernel for every handler: a program may have set them without libc
#include "stack/signals.h"

#include "base/sys.h"

namespace underpass {

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

bool has_handler(const KernelSigaction& action) {
  return action.handler != reinterpret_cast<void*>(SIG_DFL) &&
         action.handler != reinterpret_cast<void*>(SIG_IGN);
}

}  // namespace

bool interrupted_call_restarts() {
  for (int number = 1; number <= kLastSignal; ++number) {
    if (number >= kFirstInternal && number <= kLastInternal) continue;
    KernelSigaction action{};
    const long got = sys::call(SYS_rt_sigaction, number, 0, sys::arg(&action), kKernelSigsetBytes);
    if (got == 0 && has_handler(action) && (action.flags & SA_RESTART) == 0) return false;
  }
  return true;
}

}  // namespace underpass
