// epoll_set.h - an epoll instance that holds bypassed files beside the kernel's
//
// The program's epoll descriptor is a real one and holds the kernel's files, with the program's own
// data. Files of ours are items of this object. Where an item has a kernel side too (a hybrid
// listener, UDP, a socket that is not placed yet) that side is in a second kernel epoll, the
// shadow, with our own cookies. The shadow itself is in the program's epoll, so that whoever waits
// for that (poll, select, another epoll, a thread of ours asleep) is woken by both.
//
// Items that may have something to report stand in a list, and are asked when somebody collects, as
// ep_send_events() does (fs/eventpoll.c): level triggered ones go back to its end, edge triggered
// ones come back with the next event, one-shot ones when they are re-armed.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>

#include "base/fd.h"
#include "base/result.h"
#include "stack/open_file.h"
#include "stack/waiter.h"

namespace underpass {

// Guarded by the stack mutex.
class EpollSet : public OpenFile {
 public:
  // `fd` is the program's epoll descriptor. Null where the kernel refuses what we need beside it:
  // the kernel then serves it alone, and sockets in it are never bypassed.
  static Ref<EpollSet> create(int fd) UP_REQUIRES(stack_mutex);
  ~EpollSet() override;

  // As epoll_ctl(2), for a file of ours named `fd`.
  Result<void> control(int operation, int fd, OpenFile& file, const epoll_event* event)
      UP_REQUIRES(stack_mutex);
  // As epoll_pwait2(2).
  Result<int> wait(std::span<epoll_event> out, Deadline deadline, const sigset_t* mask)
      UP_REQUIRES(stack_mutex);
  // A file of the kernel was added to the program's epoll, or removed.
  void count_kernel_file(int change) UP_REQUIRES(stack_mutex) { kernel_files_ += change; }

  EpollSet* epoll() override { return this; }
  Readiness readiness() const UP_REQUIRES(stack_mutex) override;
  Readiness kernel_events() const UP_REQUIRES(stack_mutex) override {
    return EPOLLIN | EPOLLRDNORM;
  }
  void hint_kernel_ready(Readiness) UP_REQUIRES(stack_mutex) override {}
  void waits(bool on) UP_REQUIRES(stack_mutex) override;
  void last_close(int fd) UP_REQUIRES(stack_mutex) override;

  // What the shadow's events say in the program's epoll; the same in all sets, and in the children
  // of a fork, which have to leave them out.
  static uint64_t cookie();
  // Takes the shadow's event out of `count` events; returns how many are left.
  static int without_cookie(epoll_event* events, int count, bool* had_cookie);

 private:
  struct Item;
  friend struct Item;
  struct Waiting;
  friend struct Waiting;

  EpollSet(int fd, Fd shadow, Fd wake);

  Item* find(int fd, const OpenFile& file) UP_REQUIRES(stack_mutex);
  Result<void> add(int fd, OpenFile& file, const epoll_event& event) UP_REQUIRES(stack_mutex);
  Result<void> modify(Item& item, const epoll_event& event) UP_REQUIRES(stack_mutex);
  void erase(Item& item) UP_REQUIRES(stack_mutex);
  void note_listener(Item& item) UP_REQUIRES(stack_mutex);
  // The kernel side of the item is polled for what it can say now.
  void update_kernel_side(Item& item) UP_REQUIRES(stack_mutex);
  void give_to_kernel(Item& item) UP_REQUIRES(stack_mutex);
  void enqueue(Item& item) UP_REQUIRES(stack_mutex);
  void unlink(Item& item) UP_REQUIRES(stack_mutex);
  void disarm_if_one_shot(Item& item) UP_REQUIRES(stack_mutex);

  size_t collect(std::span<epoll_event> out) UP_REQUIRES(stack_mutex);
  size_t collect_kernel(std::span<epoll_event> out) UP_REQUIRES(stack_mutex);
  size_t collect_shadow(std::span<epoll_event> out) UP_REQUIRES(stack_mutex);
  size_t collect_all(std::span<epoll_event> out, bool may_wait) UP_REQUIRES(stack_mutex);
  Result<int> wait_in_kernel(std::span<epoll_event> out, Deadline deadline, const sigset_t* mask)
      UP_REQUIRES(stack_mutex);

  Fd shadow_;
  Fd wake_;  // an eventfd in the shadow: ends waits that know of no item yet
  std::unordered_multimap<int, std::unique_ptr<Item>> items_;
  Item* first_ = nullptr;
  Item* last_ = nullptr;
  int kernel_files_ = 0;
  int listeners_ = 0;
  int kernel_sides_ = 0;
  int waits_in_kernel_ = 0;
  int waiting_ = 0;     // threads, since the last wake
  uint64_t wakes_ = 0;  // of all of them
  uint64_t kernel_polled_ns_ = 0;
  uint32_t empty_polls_ = 0;      // one after the other
  uint32_t collected_alone_ = 0;  // collections without a look at the kernel
  uint32_t next_cookie_ = 1;
  uint64_t collection_ = 0;
};

}  // namespace underpass
