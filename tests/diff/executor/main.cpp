// main.cpp - makes the socket calls that the differential tests send it, a line each
//
// Reads commands on stdin and answers each with a line on stdout:
//
//   run WORKER SLOT CALL WORDS...   the call's result, or `pending`: it has not returned yet;
//                                   `busy`: the worker is still in an earlier call
//   begin WORKER SLOT CALL WORDS... `pending` at once, or `busy`
//   look                            what each worker does, what each descriptor is ready for
//   name SLOT                       the descriptor's own address
//   signal WORKER NUMBER            to the thread that is in a call
//   end                             closes all, ends calls that still block; their results
//
// It has no library of ours: run under Underpass, or not.
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <set>

#include "tests/diff/executor/worker.h"

namespace diff {
namespace {

constexpr int kAtOnceMs = 2;
constexpr int kNudgeMs = 20;
constexpr int kStuckMs = 3000;
constexpr int kStuckStatus = 3;

class Executor {
 public:
  Executor()
      : table_(make_table()),
        workers_{Worker(table_, slots_), Worker(table_, slots_), Worker(table_, slots_)} {}

  std::string answer(const std::string& line) {
    auto words = split(line, ' ');
    if (words.empty()) return "what?";
    const std::string verb = words[0];
    words.erase(words.begin());
    if (verb == "run" && words.size() >= 3) return run(words, kAtOnceMs);
    if (verb == "begin" && words.size() >= 3) return run(words, 0);
    if (verb == "look") return look();
    if (verb == "name" && words.size() == 1) return name(words[0]);
    if (verb == "signal" && words.size() == 2) return signal(words);
    if (verb == "end") return end();
    return "what?";
  }

 private:
  static CallTable make_table() {
    CallTable table;
    add_socket_calls(table);
    add_data_calls(table);
    add_descriptor_calls(table);
    add_waiting_calls(table);
    return table;
  }

  Worker& worker(const std::string& word) { return workers_[std::stoul(word) % workers_.size()]; }

  std::string run(const std::vector<std::string>& words, int limit_ms) {
    Worker& one = worker(words[0]);
    const size_t slot = words[1] == "-" ? kSlots : std::stoul(words[1]);
    if (!one.start(slot, words[2], {words.begin() + 3, words.end()})) return "busy";
    return limit_ms != 0 && one.ended_within(limit_ms) ? one.words() : "pending";
  }

  std::string look() {
    std::string text;
    for (Worker& one : workers_) {
      const std::string state = one.state();
      const std::string words = one.words();
      text += state + (state == "idle" && !words.empty() ? " " + words : "") + ";";
    }
    long held_bytes = 0;
    std::string sockets;
    for (const auto& [slot, fd] : slots_.named()) sockets += look_at(slot, fd, &held_bytes);
    return text + std::to_string(held_bytes) + ";" + sockets;
  }

  // Of our SYN or FIN, which the other end may delay.
  static bool awaits_acknowledgement(int state) {
    return state == TCP_SYN_SENT || state == TCP_FIN_WAIT1 || state == TCP_LAST_ACK ||
           state == TCP_CLOSING;
  }

  // Nothing that changes it: readiness, what can be read, the state of a TCP connection.
  static std::string look_at(size_t slot, int fd, long* held_bytes) {
    constexpr short kAll =
        POLLIN | POLLPRI | POLLOUT | POLLRDHUP | POLLRDNORM | POLLWRNORM | POLLRDBAND | POLLWRBAND;
    int number = 0;
    socklen_t length = sizeof number;
    const bool socket = ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &number, &length) == 0;
    const bool stream = number == SOCK_STREAM;
    // The kernel side of a bypassed one is looked at so often and no more (docs/compatibility.md).
    if (socket && !stream) std::this_thread::sleep_for(std::chrono::microseconds(30));
    pollfd one{fd, kAll, 0};
    ::poll(&one, 1, 0);
    std::string text = "s" + std::to_string(slot) + ":" + std::to_string(one.revents);
    if (!socket) return text + " ";
    if (::ioctl(fd, FIONREAD, &number) == 0) text += ":" + std::to_string(number);
    tcp_info information{};
    length = sizeof information;
    if (stream && ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &information, &length) == 0) {
      text += ":tcp" + std::to_string(information.tcpi_state);
      if (awaits_acknowledgement(information.tcpi_state)) ++*held_bytes;
      if (::ioctl(fd, SIOCOUTQNSD, &number) == 0) *held_bytes += number;
    }
    return text + " ";
  }

  std::string name(const std::string& slot) {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    if (::getsockname(fd_of(slots_, slot), reinterpret_cast<sockaddr*>(&storage), &length) != 0) {
      return "none";
    }
    return hex(&storage, length);
  }

  std::string signal(const std::vector<std::string>& words) {
    Worker& one = worker(words[0]);
    if (!one.busy()) return "idle";
    one.interrupt(std::stoi(words[1]));
    return one.ended_within(kAtOnceMs) ? one.words() : "pending";
  }

  // Calls first: what a close does to them is for steps of their own.
  std::string end() {
    std::string text = "ended;";
    for (Worker& one : workers_) {
      const bool was_busy = one.busy();
      for (int waited_ms = 0; one.busy(); waited_ms += kNudgeMs) {
        if (waited_ms > kStuckMs) _exit(kStuckStatus);
        one.interrupt(SIGUSR1);
        one.ended_within(kNudgeMs);
      }
      text += (was_busy ? one.words() : "") + ";";
    }
    const auto made = slots_.made();
    for (const int fd : std::set<int>(made.begin(), made.end())) ::close(fd);
    slots_.clear();
    return text;
  }

  CallTable table_;
  Slots slots_;
  std::array<Worker, 3> workers_;
};

}  // namespace
}  // namespace diff

int main() {
  diff::install_handlers();
  auto* const executor = new diff::Executor;  // its threads never end
  std::string line;
  while (std::getline(std::cin, line)) {
    const std::string answer = executor->answer(line) + "\n";
    if (::write(STDOUT_FILENO, answer.data(), answer.size()) < 0) break;
  }
  _exit(0);
}
