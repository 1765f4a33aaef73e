// worker.h - a thread that makes the calls of a sequence, one at a time
#pragma once

#include <csignal>

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/diff/executor/calls.h"

namespace diff {

class Worker {
 public:
  Worker(const CallTable& table, Slots& slots);

  // Starts a call, whose result gets the slot's name (past the last: none). False: one is in
  // progress.
  bool start(size_t slot, const std::string& call, std::vector<std::string> words);
  // Whether the call has ended, within a moment.
  bool ended_within(int ms);
  // idle; run: it is at work, or will go on by itself; sleep: blocked in the kernel.
  const char* state();
  // Of the last call: empty while it goes on.
  std::string words();
  bool busy();
  void interrupt(int signal) { pthread_kill(thread_.native_handle(), signal); }

 private:
  void work();
  Outcome make_call();
  bool sleeps();

  const CallTable* table_;
  Slots* slots_;
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t slot_ = 0;
  std::string call_;
  std::vector<std::string> arguments_;
  bool busy_ = false;
  std::string words_;
  int stat_fd_ = -1;
  bool ready_ = false;
  std::thread thread_;
};

// SIGPIPEs that this thread was sent since it was last asked.
int take_broken_pipes();
void install_handlers();

}  // namespace diff
