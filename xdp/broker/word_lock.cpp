// word_lock.cpp - set_robust_list(2), with the lock at hand always the one that is pending
#include "xdp/broker/word_lock.h"

#include <atomic>
#include <cstddef>

#include "base/sys.h"

namespace underpass {

namespace {

// Where glibc has the futex word of a pthread_mutex_t, and the kernel the end of the list.
static_assert(offsetof(pthread_mutex_t, __data.__lock) == 0);

// The kernel finds the word at an offset from the list's entry; ours are the same.
void set_pending(robust_list_head& head, uint32_t* word) {
  std::atomic_signal_fence(std::memory_order_seq_cst);
  *const_cast<robust_list* volatile*>(&head.list_op_pending) = reinterpret_cast<robust_list*>(word);
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

}  // namespace

LockOwner::LockOwner() : tid_(static_cast<uint32_t>(sys::gettid())) {
  size_t length = 0;
  sys::call(SYS_get_robust_list, 0, sys::arg(&libcs_head_), sys::arg(&length));
  head_.list.next = &head_.list;
  sys::call(SYS_set_robust_list, sys::arg(&head_), sizeof head_);
}

LockOwner::~LockOwner() { sys::call(SYS_set_robust_list, sys::arg(libcs_head_), sizeof head_); }

WordTryLock::WordTryLock(LockOwner& owner, pthread_mutex_t& mutex)
    : owner_(owner), word_(reinterpret_cast<uint32_t*>(&mutex)) {
  constexpr int kTries = 200;  // as RobustTryLock
  set_pending(owner_.head_, word_);
  for (int i = 0; i < kTries && !held_; ++i) {
    uint32_t seen = __atomic_load_n(word_, __ATOMIC_RELAXED);
    const bool dead = (seen & FUTEX_OWNER_DIED) != 0;
    const bool may_take = dead || (seen & FUTEX_TID_MASK) == 0;
    if (may_take && __atomic_compare_exchange_n(word_, &seen, owner_.tid_, false, __ATOMIC_ACQUIRE,
                                                __ATOMIC_RELAXED)) {
      held_ = true;
      recovered_ = dead;
    } else {
      __builtin_ia32_pause();
    }
  }
  if (!held_) set_pending(owner_.head_, nullptr);
}

// Nobody waits for it in the kernel: it is only ever tried.
WordTryLock::~WordTryLock() {
  if (!held_) return;
  __atomic_store_n(word_, 0, __ATOMIC_RELEASE);
  set_pending(owner_.head_, nullptr);
}

}  // namespace underpass
