// open_file.h - what the program has open and the kernel does not serve alone
//
// The `struct file` of the library: dup'ed descriptors share one. Guarded by the stack mutex
// throughout.
#pragma once

#include <algorithm>
#include <vector>

#include "stack/readiness.h"

namespace underpass {

class SocketFile;
class EpollSet;

class OpenFile : public ReadinessSource {
 public:
  explicit OpenFile(int fd) : fd_(fd) {}

  // Itself, or null if it is something else.
  virtual SocketFile* socket() { return nullptr; }
  virtual EpollSet* epoll() { return nullptr; }

  // The events for which the kernel's file must be polled too, beside readiness(). Changes are
  // notified as kPlacementChanged.
  virtual Readiness kernel_events() const UP_REQUIRES(stack_mutex) = 0;
  // A poll of the kernel's file has said these events: the next call on it looks there first.
  virtual void hint_kernel_ready(Readiness events) UP_REQUIRES(stack_mutex) = 0;
  // The kernel serves it alone from now on: whoever holds it by a descriptor may forget it.
  virtual bool is_kernels() const UP_REQUIRES(stack_mutex) { return false; }
  // In the child of a fork. False: the kernel serves it there.
  virtual bool stays_after_fork() UP_REQUIRES(stack_mutex) { return false; }
  // Before its first use there: the process that has forked us may have to give it up.
  virtual void come_over() UP_REQUIRES(stack_mutex) {}
  // The program is about to wait for input here, or takes what has come. The lock may be given away
  // meanwhile, so that the descriptor must be looked up again.
  virtual bool begins_by_input() const UP_REQUIRES(stack_mutex) { return false; }
  virtual void begin_input() UP_REQUIRES(stack_mutex) {}
  virtual bool is_listener() const UP_REQUIRES(stack_mutex) { return false; }
  // A thread waits for input, or does no more. What it does to others is undone by whoever waits.
  virtual void waits(bool) UP_REQUIRES(stack_mutex) {}
  // The last of the program's descriptors, `fd`, is about to be closed in the kernel, by the
  // caller.
  virtual void last_close(int fd) UP_REQUIRES(stack_mutex) = 0;

  // A call in progress keeps the file, as fdget() does in the kernel: a close meanwhile takes
  // effect when the last one has ended.
  virtual void call_begins() UP_REQUIRES(stack_mutex) {}
  virtual void call_ends() UP_REQUIRES(stack_mutex) {}

  // The descriptor that names the kernel's file; one of several where it was dup'ed.
  int fd() const UP_REQUIRES(stack_mutex) { return fd_; }
  void add_fd(int fd) UP_REQUIRES(stack_mutex) { dups_.push_back(fd); }
  // True when that was the last.
  bool remove_fd(int fd) UP_REQUIRES(stack_mutex) {
    if (fd == fd_) {
      if (dups_.empty()) return true;
      fd_ = dups_.back();
      dups_.pop_back();
    } else {
      dups_.erase(std::remove(dups_.begin(), dups_.end(), fd), dups_.end());
    }
    return false;
  }

 protected:
  int fd_;

 private:
  std::vector<int> dups_;
};

// For as long as a thread waits.
class WaitsFor {
 public:
  explicit WaitsFor(OpenFile& file) UP_NO_THREAD_SAFETY : file_(&file) { file.waits(true); }
  ~WaitsFor() UP_NO_THREAD_SAFETY { file_->waits(false); }
  WaitsFor(const WaitsFor&) = delete;
  WaitsFor& operator=(const WaitsFor&) = delete;

 private:
  Ref<OpenFile> file_;
};

}  // namespace underpass
