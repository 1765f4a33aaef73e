// worker.cpp - one call after the other, and whether it is asleep
#include "tests/diff/executor/worker.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstring>

namespace diff {

namespace {

thread_local volatile sig_atomic_t broken_pipes = 0;

void on_broken_pipe(int) { broken_pipes = broken_pipes + 1; }
void on_interruption(int) {}

}  // namespace

int take_broken_pipes() {
  const int count = broken_pipes;
  broken_pipes = 0;
  return count;
}

// SIGUSR1 interrupts calls, SIGUSR2 has them restarted.
void install_handlers() {
  struct sigaction action {};
  action.sa_handler = on_broken_pipe;
  sigaction(SIGPIPE, &action, nullptr);
  action.sa_handler = on_interruption;
  sigaction(SIGUSR1, &action, nullptr);
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR2, &action, nullptr);
}

Worker::Worker(const CallTable& table, Slots& slots)
    : table_(&table), slots_(&slots), thread_([this] { work(); }) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return ready_; });
}

void Worker::work() {
  std::unique_lock lock(mutex_);
  const std::string path = "/proc/self/task/" + std::to_string(::syscall(SYS_gettid)) + "/stat";
  stat_fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ready_ = true;
  changed_.notify_all();
  for (;;) {
    changed_.wait(lock, [this] { return busy_; });
    lock.unlock();
    Outcome outcome = make_call();
    lock.lock();
    words_ = outcome.words();
    busy_ = false;
    changed_.notify_all();
  }
}

Outcome Worker::make_call() {
  Arguments arguments(arguments_, *slots_);
  const auto call = table_->find(call_);
  errno = ENOSYS;
  if (call == table_->end()) return Outcome(-1);
  Outcome outcome = call->second(arguments);
  if (outcome.ok() && slot_ < kSlots) {
    slots_->put(slot_, static_cast<int>(outcome.result()));
  }
  const int broken = take_broken_pipes();
  if (broken != 0) outcome.add("SIGPIPE", broken);
  return outcome;
}

bool Worker::start(size_t slot, const std::string& call, std::vector<std::string> words) {
  const std::lock_guard lock(mutex_);
  if (busy_) return false;
  slot_ = slot;
  call_ = call;
  arguments_ = std::move(words);
  words_.clear();
  busy_ = true;
  changed_.notify_all();
  return true;
}

bool Worker::ended_within(int ms) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::milliseconds(ms), [this] { return !busy_; });
}

bool Worker::busy() {
  const std::lock_guard lock(mutex_);
  return busy_;
}

std::string Worker::words() {
  const std::lock_guard lock(mutex_);
  return words_;
}

const char* Worker::state() {
  {
    const std::lock_guard lock(mutex_);
    if (!busy_) return "idle";
    if (call_ == "fill" || call_ == "drain") return "run";
  }
  return sleeps() ? "sleep" : "run";
}

// proc(5): the state is the word behind the name in parentheses.
bool Worker::sleeps() {
  char text[256];
  const ssize_t got = ::pread(stat_fd_, text, sizeof text - 1, 0);
  if (got <= 0) return false;
  text[got] = '\0';
  const char* const name_end = std::strrchr(text, ')');
  return name_end != nullptr && name_end[1] == ' ' && name_end[2] == 'S';
}

}  // namespace diff
