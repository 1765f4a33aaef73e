// stack_mutex.cpp - a futex word
#include "stack/stack_mutex.h"

#include "base/sys.h"

namespace underpass {

StackMutex stack_mutex;

namespace {
// Critical sections last a microsecond or so: a holder on another core is waited for this many
// looks.
constexpr int kSpinsBeforeSleep = 100;
}  // namespace

bool StackMutex::try_lock() {
  uint32_t expected = 0;
  return word_.compare_exchange_strong(expected, 1, std::memory_order_acquire,
                                       std::memory_order_relaxed);
}

void StackMutex::lock() UP_NO_THREAD_SAFETY {
  enter_stack();
  lock_from_inside();
}

void StackMutex::unlock() UP_NO_THREAD_SAFETY {
  unlock_and_stay_inside();
  leave_stack();
}

void StackMutex::lock_from_inside() UP_NO_THREAD_SAFETY {
  if (try_lock()) return;
  for (int i = 0; i < kSpinsBeforeSleep; ++i) {
    if (word_.load(std::memory_order_relaxed) == 0 && try_lock()) return;
    __builtin_ia32_pause();
  }
  while (word_.exchange(2, std::memory_order_acquire) != 0) {
    sys::futex_wait(&word_, 2, nullptr, false);
  }
}

void StackMutex::unlock_and_stay_inside() UP_NO_THREAD_SAFETY {
  if (word_.exchange(0, std::memory_order_release) == 2) sys::futex_wake(&word_, 1, false);
}

}  // namespace underpass
