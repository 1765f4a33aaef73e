// relocation.h - the program leaves bypass, with all its sockets, and comes back (decision 018)
//
// What `underpass detach` and `attach` ask for, through the broker. Away, ports are the kernel's,
// new sockets too, and connections are lent to it. A thread of ours does the work, in small pieces,
// for as long as there is some. Guarded by the stack mutex.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "stack/stack_mutex.h"
#include "xdp/broker_client.h"

namespace underpass {

class SocketFile;
class Stack;

class Relocation : public RelocationListener {
 public:
  // New sockets are the kernel's, and so is what arrives.
  bool away() const UP_REQUIRES(stack_mutex) { return away_; }
  // Connections that are lent.
  void add(SocketFile& file) UP_REQUIRES(stack_mutex);
  void remove(SocketFile& file) UP_REQUIRES(stack_mutex);

  // From the broker: it wants an answer.
  void relocation_asked(bool away) UP_REQUIRES(stack_mutex) override;
  // In the child of a fork: it has no thread, and nothing is lent.
  void forget() UP_NO_THREAD_SAFETY;

 private:
  static void* run_main(void* self);
  void run() UP_EXCLUDES(stack_mutex);
  // Returns how long to rest; 0: the thread ends.
  uint64_t step() UP_REQUIRES(stack_mutex);
  void begin(Stack& stack) UP_REQUIRES(stack_mutex);
  void wake() UP_REQUIRES(stack_mutex);
  uint32_t push_out(Stack& stack) UP_REQUIRES(stack_mutex);
  uint32_t pull_in() UP_REQUIRES(stack_mutex);
  void answer_if(bool done) UP_REQUIRES(stack_mutex);

  bool asked_ = false;
  bool wanted_away_ = false;
  bool away_ = false;
  bool running_ = false;
  bool answer_due_ = false;
  uint64_t began_ns_ = 0;
  RelocationCount count_{};
  size_t next_ = 0;  // of lent_, or of the stack's
  std::vector<SocketFile*> lent_;
  std::atomic<uint32_t> wakes_{0};
};

}  // namespace underpass
