// word_lock.h - the clients' robust mutexes, as the broker takes them
//
// Clients can write the memory that the mutexes are in. pthread_mutex_trylock(3) keeps the list of
// a thread's robust mutexes inside of them and writes through its pointers: whoever forges those
// has the broker write where he likes. Here only the mutex's first word is used: 0, or who holds
// it, with the bits of the kernel's robust futexes (Documentation/locking/robust-futex-ABI.rst).
// The worst that a forged word can do is to keep the lock from us.
#pragma once

#include <linux/futex.h>
#include <pthread.h>

#include <cstdint>

namespace underpass {

// The thread that holds WordTryLocks, made known to the kernel: should it be killed in the middle,
// the clients find the lock as that of a dead holder. One a thread at a time; it takes the place of
// libc's list, so that thread must not hold robust mutexes of libc's.
class LockOwner {
 public:
  LockOwner();
  ~LockOwner();
  LockOwner(const LockOwner&) = delete;
  LockOwner& operator=(const LockOwner&) = delete;

 private:
  friend class WordTryLock;
  robust_list_head head_{};
  robust_list_head* libcs_head_ = nullptr;
  uint32_t tid_;
};

// As RobustTryLock, and both exclude each other. One at a time for each owner.
class WordTryLock {
 public:
  WordTryLock(LockOwner& owner, pthread_mutex_t& mutex);
  ~WordTryLock();
  WordTryLock(const WordTryLock&) = delete;
  WordTryLock& operator=(const WordTryLock&) = delete;
  bool held() const { return held_; }
  bool recovered() const { return recovered_; }

 private:
  LockOwner& owner_;
  uint32_t* const word_;
  bool held_ = false;
  bool recovered_ = false;
};

}  // namespace underpass
