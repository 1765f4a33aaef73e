// socket_handle.cpp - a descriptor that closes when nobody uses it any more
#include "stack/socket_handle.h"

#include <unistd.h>

#include <utility>

#include "stack/no_cancellation.h"

namespace underpass {

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
  // A destructor must not be unwound through, and closing may wait (SO_LINGER).
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
