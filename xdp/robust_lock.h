// robust_lock.h - a lock shared by processes that may die or be stopped while holding it
#pragma once

#include <pthread.h>

#include <cerrno>

namespace underpass {

// Never waits long: a holder may be stopped (SIGSTOP). The caller keeps its work and tries again
// later. After a dead holder, recovered() is true once, for whoever comes next.
class RobustTryLock {
 public:
  explicit RobustTryLock(pthread_mutex_t& mutex) : mutex_(mutex) {
    constexpr int kTries = 200;  // a critical section lasts well under a microsecond
    for (int i = 0; i < kTries; ++i) {
      const int error = pthread_mutex_trylock(&mutex_);
      recovered_ = error == EOWNERDEAD;
      if (recovered_) pthread_mutex_consistent(&mutex_);
      held_ = error == 0 || error == EOWNERDEAD;
      if (held_ || error != EBUSY) return;
      __builtin_ia32_pause();
    }
  }
  ~RobustTryLock() {
    if (held_) pthread_mutex_unlock(&mutex_);
  }
  RobustTryLock(const RobustTryLock&) = delete;
  RobustTryLock& operator=(const RobustTryLock&) = delete;
  bool held() const { return held_; }
  bool recovered() const { return recovered_; }

  static void init(pthread_mutex_t& mutex) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
  }

 private:
  pthread_mutex_t& mutex_;
  bool held_ = false;
  bool recovered_ = false;
};

}  // namespace underpass
