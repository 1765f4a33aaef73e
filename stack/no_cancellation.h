// no_cancellation.h - for calls that are no cancellation points, but wait here
#pragma once

#include <pthread.h>

#include "stack/signals.h"

namespace underpass {

// While it lives, pthread_cancel(3) of this thread is put off until its next cancellation point.
// Inside the stack meanwhile, so that a handler's jump out of a wait takes it back, too.
class NoCancellation {
 public:
  NoCancellation() {
    enter_stack();
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_);
  }
  ~NoCancellation() {
    pthread_setcancelstate(before_, nullptr);
    leave_stack();
  }
  NoCancellation(const NoCancellation&) = delete;
  NoCancellation& operator=(const NoCancellation&) = delete;

 private:
  int before_ = 0;
};

}  // namespace underpass
