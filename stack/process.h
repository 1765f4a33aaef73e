// process.h - the one stack of this process: attached at the first socket that could use it
//
// Thread-safe. Singletons that never die: the program calls us during exit().
#pragma once

#include <memory>
#include <string>

#include "base/fd.h"
#include "base/options.h"
#include "stack/family.h"
#include "stack/relocation.h"
#include "stack/spin_policy.h"
#include "stack/stack.h"
#include "stack/stack_mutex.h"
#include "xdp/broker_client.h"

namespace underpass {

class Waiter;

// Before the first socket: remembers the options and takes a lease, so that the broker stays while
// the program lives. An error, BrokerClient::lease()'s or ENODEV where no interface is named:
// everything is the kernel's, unless a later call succeeds.
Result<void> process_start(const Options& options) UP_EXCLUDES(stack_mutex);

// fork(2): prepare takes the stack lock, so that the child's copy of the stack is whole; the child
// forgets it, without a word to the peers, which are the parent's. The child's thread stays inside
// the stack (signals.h) until process_fork_is_over(): no handler runs before all is forgotten.
void process_prepare_fork() UP_ACQUIRE(stack_mutex);
void process_after_fork_parent() UP_RELEASE(stack_mutex);
void process_after_fork_child();
void process_fork_is_over();

// exit(3): closes what is open and stays until the peers have all of it, as long as they take
// something; for a bounded time. The kernel would go on in the background.
void process_exit() UP_EXCLUDES(stack_mutex);
// Before exec(3): until what was being opened to the listeners that are left is open, for 3 s.
void process_leave_listeners() UP_EXCLUDES(stack_mutex);
// _exit(2): the same. Called by any thread at any moment, out of signal handlers too: should it
// meet a lock that the interrupted code holds, the process ends all the same, with that status.
// From here on no other thread gets the stack lock.
void process_leave(int status);

class Process : private DeadlineWatcher {
 public:
  static Process& instance();

  const Options& options() const { return options_; }
  // False: there was no broker when the program began, and nothing will be bypassed.
  bool may_attach() const { return may_attach_; }
  // Attaches if that has not been tried yet. An error, of the first try: the kernel serves every
  // socket.
  Result<void> attach() UP_EXCLUDES(stack_mutex);
  // The second half of it, for a test that brings its own frames and routes.
  void attach_to(std::unique_ptr<Attachment> attachment, std::unique_ptr<HostView> view)
      UP_EXCLUDES(stack_mutex);
  // False: the socket is of another network namespace (unshare(2), setns(2)), and the interface is
  // not there.
  bool has_interface(int fd) const;
  // Null before attach(), and after a failed one.
  Stack* stack() UP_REQUIRES(stack_mutex) { return stack_.get(); }
  Attachment* attachment() UP_REQUIRES(stack_mutex) { return attachment_.get(); }
  Family& family() { return family_; }
  Relocation& relocation() UP_REQUIRES(stack_mutex) { return relocation_; }
  bool is_interface_address(const IpAddress& ip) UP_REQUIRES(stack_mutex);
  // The broker ends: nothing of it is held any more, and there is no interface until come_back().
  void let_go() UP_REQUIRES(stack_mutex);
  // Attaches to the broker that is there now. An error: there is none, or it does not want us.
  Result<void> come_back() UP_EXCLUDES(stack_mutex);

  // For Waiter. An eventfd of ours, and its return.
  int take_event_fd() UP_REQUIRES(stack_mutex);
  void give_back_event_fd(int fd) UP_REQUIRES(stack_mutex);
  SpinPolicy& spin() { return spin_; }
  // Threads inside Waiter::wait() drive the stack; while there is one, the helper rests.
  void enter_wait() UP_REQUIRES(stack_mutex);
  void leave_wait() UP_REQUIRES(stack_mutex);
  // Of the threads asleep in waits one sleeps on the rings and wakes the others: a frame wakes one
  // thread. True: `waiter` is that one.
  bool sleeps_on_rings(Waiter& waiter) UP_REQUIRES(stack_mutex);
  // Before it sleeps: when the stack needs it at the latest. What becomes due before that nudges
  // it.
  uint64_t ring_deadline_ns() UP_REQUIRES(stack_mutex);
  void enter_sleep(Waiter& waiter) UP_REQUIRES(stack_mutex);
  void leave_sleep(Waiter& waiter) UP_REQUIRES(stack_mutex);

 private:
  friend Result<void> process_start(const Options&);
  friend void process_prepare_fork();
  friend void process_after_fork_parent();
  friend void process_after_fork_child();
  friend void process_exit();
  friend void process_leave(int);

  Process() = default;
  struct Attached {
    std::unique_ptr<Attachment> attachment;
    std::unique_ptr<HostView> view;
  };
  Result<Attached> attach_to_broker() UP_EXCLUDES(stack_mutex);
  Stack::Setup setup_of(Attachment& attachment, HostView& view) UP_REQUIRES(stack_mutex);
  void wake_ring_sleepers() UP_REQUIRES(stack_mutex);
  void forget_those_before() UP_REQUIRES(stack_mutex);
  void deadline_is_earlier(uint64_t at_ns) UP_REQUIRES(stack_mutex) override;
  void watch_deadlines() UP_REQUIRES(stack_mutex);
  void start_helper();
  void help() UP_EXCLUDES(stack_mutex);
  uint64_t help_once() UP_EXCLUDES(stack_mutex);
  static void* helper_main(void* self);

  Options options_;
  StackMutex attach_mutex_;  // taken before stack_mutex; held during the round trip to the broker
  bool tried_ = false;
  int attach_error_ = 0;
  uint64_t try_again_ns_ = 0;
  bool may_attach_ = false;
  uint64_t network_ = 0;  // the namespace of the interface; 0: not known
  Fd lease_;
  std::unique_ptr<Attachment> attachment_;
  std::unique_ptr<HostView> view_;
  // Of brokers that have ended, while somebody may look there.
  std::vector<Attached> before_;
  std::unique_ptr<Stack> stack_;
  SpinPolicy spin_;
  Family family_;
  Relocation relocation_;
  std::vector<int> event_fds_;
  void promote_sleeper() UP_REQUIRES(stack_mutex);

  // The process that has the stack; 0: none has. A child that shares our memory is another one.
  std::atomic<int> owner_pid_{0};
  int waiting_threads_ = 0;
  std::vector<Waiter*> sleepers_;  // of the waiting threads
  Waiter* ring_sleeper_ = nullptr;
  // When they wake by themselves; 0: awake.
  uint64_t ring_sleeper_until_ns_ = 0;
  uint64_t helper_until_ns_ = 0;
  Fd helper_event_;  // ends the helper's sleep on the rings
  // 1 while the helper sleeps without a time limit.
  std::atomic<uint32_t> helper_parked_{0};
};

}  // namespace underpass
