// socket_handle.cpp - a descriptor that closes when nobody uses it any more
#include "stack/socket_handle.h"

#include <pthread.h>
#include <unistd.h>

#include <utility>

namespace underpass {

namespace {

// Closing may wait (SO_LINGER), but a destructor must not be unwound through.
class NoCancellation {
 public:
  NoCancellation() { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  ~NoCancellation() { pthread_setcancelstate(before_, nullptr); }
  NoCancellation(const NoCancellation&) = delete;
  NoCancellation& operator=(const NoCancellation&) = delete;

 private:
  int before_ = 0;
};

}  // namespace

SocketHandle::SocketHandle(int fd, int family, int type, Ref<SocketFile> file)
    : fd_(fd),
      family_(family),
      type_(type),
      generation_(process_generation()),
      has_file_(static_cast<bool>(file)),
      file_(std::move(file)) {}

bool SocketHandle::enter() {
  uint32_t seen = users_.load(std::memory_order_relaxed);
  while ((seen & kClosed) == 0) {
    if (users_.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel)) return true;
  }
  return false;
}

void SocketHandle::leave() {
  if (users_.fetch_sub(1, std::memory_order_acq_rel) == (kClosed | 1U)) close_now();
}

void SocketHandle::close() {
  if (users_.fetch_or(kClosed, std::memory_order_acq_rel) == 0) close_now();
}

void SocketHandle::close_now() {
  const NoCancellation guard;
  {
    StackLock lock;
    if (file_ && is_of_another_process()) {
      // What points to it is as dead as the stack that it belongs to: it stays as it is.
      file_->ref();
    } else if (file_) {
      file_->last_close(fd_);
    }
    file_ = nullptr;
  }
  ::close(fd_);
}

}  // namespace underpass
