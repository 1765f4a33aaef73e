// relocation.h - the program leaves bypass, with all its sockets, and comes back
//
// What `underpass detach` and `attach` ask for, through the broker (decision 018), and what a
// broker that ends does (decision 020). Away, ports are the kernel's, new sockets too, and
// connections are lent to it. A thread of ours does the work, in small pieces, for as long as there
// is some. Guarded by the stack mutex.
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
  void broker_ends(bool orderly) UP_REQUIRES(stack_mutex) override;
  // The stack has the interface again.
  void has_broker(Stack& stack) UP_REQUIRES(stack_mutex);
  // In the child of a fork: it has no thread, and nothing is lent.
  void forget() UP_NO_THREAD_SAFETY;

 private:
  enum class Broker : uint8_t {
    kServes,
    kEnds,     // it moves connections until we have let go
    kHasGone,  // it was killed: what is in the stack ends there
    kNone,     // we have let go, and look for the next one
  };

  static void* run_main(void* self);
  void run() UP_EXCLUDES(stack_mutex);
  void start() UP_REQUIRES(stack_mutex);
  // Returns how long to rest; 0: the thread ends.
  uint64_t step() UP_REQUIRES(stack_mutex);
  void begin(Stack& stack) UP_REQUIRES(stack_mutex);
  void set_away(Stack& stack, bool away) UP_REQUIRES(stack_mutex);
  void wake() UP_REQUIRES(stack_mutex);
  uint32_t push_out(Stack& stack) UP_REQUIRES(stack_mutex);
  uint32_t pull_in() UP_REQUIRES(stack_mutex);
  void answer_if(bool done) UP_REQUIRES(stack_mutex);
  uint64_t leave_broker(Stack& stack) UP_REQUIRES(stack_mutex);
  void begin_leaving(Stack& stack) UP_REQUIRES(stack_mutex);
  bool has_left(Stack& stack) UP_REQUIRES(stack_mutex);

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
  Broker broker_ = Broker::kServes;
  bool leaving_ = false;     // that one
  bool stays_away_ = false;  // with the next broker, too: `underpass detach` was before
  uint64_t progress_ns_ = 0;
  uint32_t looks_ = 0;
};

}  // namespace underpass
