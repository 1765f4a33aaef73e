// broker_start.cpp - fork, setsid, fork, exec
#include "tools/broker_start.h"

#include <fmt/format.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "base/fd.h"

namespace underpass {

namespace {

using Clock = std::chrono::steady_clock;

// Attaching XDP resets the rings of a hardware NIC, which takes some of them several seconds.
constexpr std::chrono::seconds kReadyLimit{20};
constexpr size_t kMaxLineBytes = 1024;
// Where the ready pipe is in the broker: the first number after stdio.
constexpr int kReadyFd = 3;
constexpr mode_t kLogMode = 0644;

// Everything below runs between fork and exec: what fails there is said over the ready pipe.
[[noreturn]] void fail_in_child(int ready_fd, const char* what) {
  const std::string line = fmt::format("{}: {}\n", what, std::strerror(errno));
  if (::write(ready_fd, line.data(), line.size()) < 0) ::_exit(126);
  ::_exit(127);
}

void open_stdio(const BrokerStart& start, int ready_fd) {
  const char* const log = start.log_file.empty() ? "/dev/null" : start.log_file.c_str();
  const int null = ::open("/dev/null", O_RDWR);
  const int out = ::open(log, O_WRONLY | O_APPEND | O_CREAT, kLogMode);
  if (null < 0 || out < 0) fail_in_child(ready_fd, null < 0 ? "/dev/null" : log);
  if (::dup2(null, STDIN_FILENO) < 0 || ::dup2(out, STDOUT_FILENO) < 0 ||
      ::dup2(out, STDERR_FILENO) < 0) {
    fail_in_child(ready_fd, "dup2");
  }
}

// The caller's mask and ignored signals would otherwise be the daemon's for its whole life.
void reset_signals() {
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGTERM, SIGCHLD}) {
    ::signal(number, SIG_DFL);
  }
}

[[noreturn]] void become_broker(const BrokerStart& start, int ready_fd) {
  reset_signals();
  // Above the numbers that are about to be reused.
  const int ready = ::fcntl(ready_fd, F_DUPFD, kReadyFd + 1);
  if (ready < 0) fail_in_child(ready_fd, "fcntl");
  open_stdio(start, ready);
  if (::chdir("/") < 0) fail_in_child(ready, "chdir /");
  if (::dup2(ready, kReadyFd) < 0) fail_in_child(ready, "dup2");
  // Else it would hold pipes of the caller open, and whoever reads them to the end would hang.
  ::close_range(kReadyFd + 1, ~0U, 0);
  ::unsetenv("LD_PRELOAD");  // the library is for the program, not for its broker
  const std::string ready_text = std::to_string(kReadyFd);
  ::execl(start.broker.c_str(), "underpassd", "-i", start.iface.c_str(), "--ready-fd",
          ready_text.c_str(), static_cast<char*>(nullptr));
  fail_in_child(kReadyFd, start.broker.c_str());
}

// Returns the process group of the daemon, whose leader has ended when this returns; -1: errno.
pid_t fork_daemon(const BrokerStart& start, int ready_fd) {
  const pid_t leader = ::fork();
  if (leader != 0) {
    if (leader > 0 && ::waitpid(leader, nullptr, 0) < 0) return -1;
    return leader;
  }
  ::setsid();
  const pid_t daemon = ::fork();
  if (daemon < 0) fail_in_child(ready_fd, "fork");
  if (daemon > 0) ::_exit(0);
  become_broker(start, ready_fd);
}

int remaining_ms(Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return left > 0 ? static_cast<int>(left) : 0;
}

// One line without its newline; shorter at end of file. ETIMEDOUT at the deadline.
Result<std::string> read_line(int fd, Clock::time_point deadline) {
  std::string line;
  while (line.size() < kMaxLineBytes) {
    pollfd one{fd, POLLIN, 0};
    const int ready = ::poll(&one, 1, remaining_ms(deadline));
    if (ready == 0) return Error{ETIMEDOUT};
    if (ready < 0 && errno != EINTR) return Error{errno};
    if (ready < 0) continue;
    std::array<char, kMaxLineBytes> part;
    const ssize_t got = ::read(fd, part.data(), part.size());
    if (got < 0) return Error{errno};
    line.append(part.data(), static_cast<size_t>(got));
    const size_t end = line.find('\n');
    if (end != std::string::npos) return line.substr(0, end);
    if (got == 0) return line;
  }
  return line;
}

std::string answer_of(int fd, pid_t group) {
  const auto line = read_line(fd, Clock::now() + kReadyLimit);
  if (!line) {
    if (line.error() == ETIMEDOUT) ::kill(-group, SIGKILL);
    return line.error() == ETIMEDOUT
               ? fmt::format("underpassd was not ready after {} s", kReadyLimit.count())
               : fmt::format("no answer of underpassd: {}", std::strerror(line.error()));
  }
  if (*line == "ok") return "";
  return line->empty() ? "underpassd ended before it was ready" : *line;
}

}  // namespace

std::string start_broker(const BrokerStart& start) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return std::string("pipe: ") + std::strerror(errno);
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  const pid_t group = fork_daemon(start, write_end.get());
  if (group < 0) return std::string("fork: ") + std::strerror(errno);
  write_end.reset();
  return answer_of(read_end.get(), group);
}

}  // namespace underpass
