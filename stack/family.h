// family.h - connections that a process shares with the children that it has forked
//
// The child of a fork has every connection's kernel socket, and a connection itself only where that
// socket has it. So the connection stays with the parent until somebody else wants it: a child that
// uses it asks the parent to move it out (decision 016), and a parent that closes it while a child
// may hold it moves it out instead. Guarded by the stack mutex, but for serve().
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "stack/demux.h"
#include "stack/stack_mutex.h"

namespace underpass {

class Stack;

class Family {
 public:
  // Around fork(2); nothing is made where the stack has no connection. Without descriptors the
  // child's connections are unconnected sockets.
  void before_fork(bool has_connections) UP_REQUIRES(stack_mutex);
  void after_fork_in_parent() UP_REQUIRES(stack_mutex);
  // What may stay open in the child: its lines to those before it.
  void after_fork_in_child() UP_REQUIRES(stack_mutex);
  const std::vector<int>& lines() const UP_REQUIRES(stack_mutex) { return to_parents_; }

  // ---- as a child
  // To the parent that has just forked us; -1: there is none.
  int line_to_parent() const UP_REQUIRES(stack_mutex) {
    return to_parents_.empty() ? -1 : to_parents_.back();
  }
  // Waits until the parent at the other end of `line` has given the connection to the kernel, or
  // cannot any more (it has ended, and did so then).
  static void ask(int line, const FourTuple& flow);

  // ---- as a parent
  // How many forks there have been: what was made at that number is shared by all later ones.
  uint64_t forks() const { return forks_.load(std::memory_order_relaxed); }
  // Whether a child may hold what was made when there had been `forks` of them.
  bool may_share(uint64_t forks) const UP_REQUIRES(stack_mutex);

 private:
  struct Child {
    Fd line;
    uint64_t fork;
  };

  static void* serve_main(void* self);
  void start_serving() UP_REQUIRES(stack_mutex);
  void serve() UP_EXCLUDES(stack_mutex);
  // False: nobody is at its other end any more.
  bool answer(int line) UP_REQUIRES(stack_mutex);
  void move_out(const FourTuple& flow) UP_REQUIRES(stack_mutex);

  std::vector<Child> children_;
  std::vector<int> to_parents_;  // kept for good; the oldest first
  Fd next_line_;                 // both ends of the line to the child that is about to be
  Fd next_child_end_;
  Fd changed_;  // an eventfd: there are other children now
  std::atomic<uint64_t> forks_{0};
};

}  // namespace underpass
