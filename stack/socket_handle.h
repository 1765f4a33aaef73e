// socket_handle.h - what a Socket holds: a descriptor of the kernel and, where it may be bypassed,
// the SocketFile on it
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/ref.h"
#include "stack/interface_use.h"
#include "stack/socket_file.h"
#include "stack/stack_mutex.h"

namespace underpass {

// Thread-safe. Calls in progress keep the descriptor: close() takes effect when the last one
// returns, as the kernel's does.
class SocketHandle {
 public:
  SocketHandle(int fd, int family, int type, Ref<SocketFile> file);
  ~SocketHandle() { close(); }
  SocketHandle(const SocketHandle&) = delete;
  SocketHandle& operator=(const SocketHandle&) = delete;

  int family() const { return family_; }
  bool is_stream() const { return type_ == SOCK_STREAM; }
  bool is_closed() const { return (users_.load(std::memory_order_acquire) & kClosed) != 0; }
  int fd() const { return fd_; }
  void close();

  // False: closed, and nothing is to be left.
  bool enter();
  void leave();

  // What `bypass` makes of the file, under the stack lock. Nothing: the kernel serves fd() alone.
  template <class Bypass>
  auto on_file(Bypass bypass) -> std::optional<decltype(bypass(std::declval<SocketFile&>()))>;

 private:
  static constexpr uint32_t kClosed = 1U << 31U;

  void close_now();
  bool is_of_another_process() const { return generation_ != process_generation(); }

  const int fd_;
  const int family_;
  const int type_;
  const uint32_t generation_;
  std::atomic<uint32_t> users_{0};
  // Without the lock: false is final.
  std::atomic<bool> has_file_;
  Ref<SocketFile> file_ UP_GUARDED_BY(stack_mutex);
};

template <class Bypass>
auto SocketHandle::on_file(Bypass bypass)
    -> std::optional<decltype(bypass(std::declval<SocketFile&>()))> {
  if (!has_file_.load(std::memory_order_acquire) || is_of_another_process()) return std::nullopt;
  StackLock lock;
  if (file_ && file_->is_kernels()) {
    file_->last_close(fd_);
    file_ = nullptr;
    has_file_.store(false, std::memory_order_release);
  }
  if (!file_) return std::nullopt;
  return bypass(*file_);
}

}  // namespace underpass
