// fd_table.h - which of the program's descriptors are ours to serve
//
// An array indexed by the number: one load tells that a descriptor is the kernel's. Entries change
// under the stack mutex; each holds a reference.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/ref.h"
#include "stack/open_file.h"
#include "stack/socket_file.h"
#include "stack/stack_mutex.h"

namespace underpass {

class EpollSet;

class FdTable {
 public:
  // Larger numbers are the kernel's.
  static constexpr int kMaxFds = 1 << 20;

  // Without the lock: false is final, true must be looked at again under it.
  static bool maybe_ours(int fd) {
    return fd >= 0 && fd < kMaxFds && entry(fd).load(std::memory_order_relaxed) != nullptr;
  }
  // Null: the kernel's. A file that became the kernel's is forgotten here.
  static OpenFile* find(int fd) UP_REQUIRES(stack_mutex);
  // The same, before a wait for `events` of it: the lock may be given away meanwhile.
  static OpenFile* find_to_wait(int fd, Readiness events) UP_REQUIRES(stack_mutex);
  // `fd` is a fresh number of `file`: a stale entry of that number (closed behind our back) goes.
  static void put(int fd, OpenFile* file) UP_REQUIRES(stack_mutex);
  // `fd` names another file now, or none; its last descriptor ends our part of the file.
  static void drop(int fd) UP_REQUIRES(stack_mutex);
  // drop() for all numbers from `first` to `last`.
  static void drop_range(unsigned first, unsigned last) UP_REQUIRES(stack_mutex);
  // What the process that has forked us must give up, of the numbers that survive exec(3).
  static void come_over_for_exec() UP_REQUIRES(stack_mutex);
  // Listeners that survive exec(3) are the new program's, with what nobody has accepted.
  static void leave_for_exec() UP_REQUIRES(stack_mutex);
  // Listeners among the numbers that the program was started with.
  static void adopt_listeners() UP_EXCLUDES(stack_mutex);
  static void adopt_listener(int fd) UP_EXCLUDES(stack_mutex);
  // In the child of a fork: but for a few, every descriptor is the kernel's.
  static void after_fork() UP_REQUIRES(stack_mutex);

 private:
  // At a place that is known when the library is linked: a call on a file of the kernel's pays for
  // no other load. A page of it becomes memory when a number in it is used.
  static OpenFile* entries_[kMaxFds];
  static std::atomic_ref<OpenFile*> entry(int fd) {
    return std::atomic_ref<OpenFile*>(entries_[fd]);
  }
  static std::atomic<int> highest_;
};

// Looks `fd` up and keeps the lock and the file for as long as it lives; empty (and unlocked) where
// the fd is the kernel's.
class UP_SCOPED_CAPABILITY HeldFile {
 public:
  explicit HeldFile(int fd) UP_ACQUIRE(stack_mutex) UP_NO_THREAD_SAFETY {
    if (!FdTable::maybe_ours(fd)) return;
    stack_mutex.lock();
    file_ = Ref<OpenFile>(FdTable::find(fd));
    if (!file_) stack_mutex.unlock();
  }
  ~HeldFile() UP_RELEASE() UP_NO_THREAD_SAFETY {
    if (!file_) return;
    file_ = nullptr;
    stack_mutex.unlock();
  }
  HeldFile(const HeldFile&) = delete;
  HeldFile& operator=(const HeldFile&) = delete;

  explicit operator bool() const { return static_cast<bool>(file_); }
  OpenFile& operator*() const { return *file_; }
  // Null if it is no socket.
  SocketFile* socket() const { return file_ ? file_->socket() : nullptr; }
  EpollSet* epoll() const { return file_ ? file_->epoll() : nullptr; }

 private:
  Ref<OpenFile> file_;
};

}  // namespace underpass
