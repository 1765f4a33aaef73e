// stack_mutex.h - the one lock of a process's stack
//
// Held for the time of one batch of frames or one call's work, never while blocking and never while
// calling into the program. A futex word: uncontended, it costs one atomic exchange each way.
// Whoever holds it or waits for it is inside the stack (signals.h).
#pragma once

#include <atomic>
#include <cstdint>

#include "base/thread_annotations.h"
#include "stack/signals.h"

namespace underpass {

class UP_CAPABILITY("mutex") StackMutex {
 public:
  void lock() UP_ACQUIRE();
  void unlock() UP_RELEASE();
  // In the middle of a call that waits: no handler of the program runs before the call lets it.
  void unlock_and_stay_inside() UP_RELEASE();
  void lock_from_inside() UP_ACQUIRE();
  // In the child of a fork: whoever held it does not exist here.
  void reset_after_fork() { word_.store(0, std::memory_order_relaxed); }

 private:
  bool try_lock();

  // 0 free, 1 held, 2 held and somebody may sleep on it (Drepper, "Futexes are tricky", mutex 2).
  std::atomic<uint32_t> word_{0};
};

extern StackMutex stack_mutex;

class UP_SCOPED_CAPABILITY StackLock {
 public:
  StackLock() UP_ACQUIRE(stack_mutex) { stack_mutex.lock(); }
  ~StackLock() UP_RELEASE() { stack_mutex.unlock(); }
  StackLock(const StackLock&) = delete;
  StackLock& operator=(const StackLock&) = delete;
};

}  // namespace underpass
