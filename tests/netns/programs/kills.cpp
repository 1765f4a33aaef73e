// kills.cpp - processes that have connections are killed, exec, pass them on; the peers say what
// they saw
//
//   kills serve PORT LANES             a process listens on each of LANES ports, which takes one
//                                      connection at a time and does to it what its request says
//   kills load HOST PORT LANES SEED COUNT
//                                      COUNT connections, and a line for each: "INDEX FATE: BYTES
//                                      right, END"
//
// What happens to a connection is said by its request, which is made from SEED: the lines are the
// same on every run.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

// What happens once the server has sent back the first bytes.
enum Fate : uint32_t {
  kWhole,         // nothing
  kKilled,        // its process is killed, with bytes unread
  kKilledEmpty,   // its process is killed, with nothing unread
  kExec,          // its process calls exec; the new program goes on
  kExecKilled,    // its process calls exec; the new program is killed, with bytes unread
  kPassedKilled,  // it is passed to another process, which is killed, with bytes unread
  kPassed,        // it is passed to another process, which goes on; the first one is killed
  kChildKilled,   // a child that has used it is killed; the parent goes on
  kIdleKilled,    // a child that has not used it is killed; the parent goes on
  kParentKilled,  // a child that has used it goes on; the parent is killed
  kFates
};
constexpr const char* kNames[kFates] = {
    "whole",         "killed", "killed empty", "exec",        "exec and killed",
    "passed killed", "passed", "child killed", "idle killed", "parent killed"};

struct Request {
  uint32_t fate;
  uint32_t seed;
  uint32_t first;  // bytes before it happens
  uint32_t all;

  // The peer waits for the end then, instead of sending the rest.
  bool ends_early() const {
    return fate == kKilled || fate == kKilledEmpty || fate == kExecKilled || fate == kPassedKilled;
  }
};
// Sent when all of the first bytes are back, and left unread by a process that is killed. The
// kernel ends the connections of a killed process with FIN where nothing is unread, and with RST
// where something is; Underpass always resets (docs/decisions/003-peers-of-a-killed-program.md).
// So both reset those that have these bytes; of kKilledEmpty the line says only that it ended.
constexpr int kUnread = 100;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "%d: %s: %s\n", getpid(), what, std::strerror(errno));
  std::_Exit(1);
}
int must(const char* what, int result) {
  if (result < 0) fail(what);
  return result;
}

[[noreturn]] void die() {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

// ---- the server

void receive_all(int fd, void* data, size_t size) {
  const ssize_t got = recv(fd, data, size, MSG_WAITALL);
  if (got != static_cast<ssize_t>(size)) fail("recv of all");
}

void send_all(int fd, const char* data, size_t size) {
  while (size > 0) {
    const auto done =
        static_cast<size_t>(must("send", static_cast<int>(send(fd, data, size, MSG_NOSIGNAL))));
    data += done;
    size -= done;
  }
}

void echo(int fd, size_t size) {
  char piece[4096];
  while (size > 0) {
    const size_t most = std::min(size, sizeof piece);
    const auto got = static_cast<size_t>(must("recv", static_cast<int>(recv(fd, piece, most, 0))));
    if (got == 0) {
      errno = 0;
      fail("recv: the end");
    }
    send_all(fd, piece, got);
    size -= got;
  }
}

void finish(int fd, const Request& request) {
  echo(fd, request.all - request.first);
  char more = 0;
  if (must("recv", static_cast<int>(recv(fd, &more, 1, 0))) != 0) fail("more than all");
  close(fd);
}

// The peer has all of the first bytes then, and we have acknowledged all of its own.
void wait_for_unread(int fd) {
  for (int unread = 0; unread < kUnread; usleep(500))
    must("FIONREAD", ioctl(fd, FIONREAD, &unread));
}

[[noreturn]] void die_with_unread(int fd) {
  wait_for_unread(fd);
  die();
}

void pass(int line, int fd) {
  char byte = '!';
  iovec piece{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  must("sendmsg", static_cast<int>(sendmsg(line, &message, 0)));
}

int receive_passed(int line) {
  char byte = 0;
  iovec piece{&byte, 1};
  int fd = -1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (recvmsg(line, &message, 0) != 1) fail("recvmsg");
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) fail("nothing passed");
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return fd;
}

void touch(int fd) {
  int error = 0;
  socklen_t bytes = sizeof error;
  must("SO_ERROR", getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes));
}

// A process that takes one connection after the other on a port of its own, so that nobody else's
// ends with it, and none is in its queue.
class Worker {
 public:
  explicit Worker(int port) {
    listener_ = must("socket", socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    must("SO_REUSEADDR", setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    must("bind", bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address));
    must("listen", listen(listener_, 8));
  }

  [[noreturn]] void run() {
    for (;;) {
      const int fd = must("accept", accept(listener_, nullptr, nullptr));
      send_all(fd, "!", 1);
      Request request{};
      receive_all(fd, &request, sizeof request);
      echo(fd, request.first);
      meet(fd, request);
      while (waitpid(-1, nullptr, WNOHANG) > 0) {
      }
    }
  }

 private:
  void meet(int fd, const Request& request) {
    switch (request.fate) {
      case kWhole:
        return finish(fd, request);
      case kKilled:
        die_with_unread(fd);
      case kKilledEmpty: {
        // Read, so that it is known to be here.
        char unread[kUnread];
        receive_all(fd, unread, sizeof unread);
        die();
      }
      case kExec:
      case kExecKilled:
        become_other(fd, request);
      case kPassedKilled:
      case kPassed:
        return hand_over(fd, request);
      case kChildKilled:
      case kIdleKilled: {
        const pid_t child = must("fork", fork());
        if (child == 0) {
          if (request.fate == kChildKilled) touch(fd);
          die();
        }
        must("waitpid", waitpid(child, nullptr, 0));
        return finish(fd, request);
      }
      case kParentKilled:
        leave_to_child(fd, request);
      default:
        fail("no such fate");
    }
  }

  [[noreturn]] static void become_other(int fd, const Request& request) {
    const std::string words[] = {std::to_string(fd), std::to_string(request.fate),
                                 std::to_string(request.first), std::to_string(request.all)};
    execl("/proc/self/exe", "kills", "go-on", words[0].c_str(), words[1].c_str(), words[2].c_str(),
          words[3].c_str(), nullptr);
    fail("exec");
  }

  void hand_over(int fd, const Request& request) const {
    int line[2];
    must("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, line));
    const pid_t child = must("fork", fork());
    if (child == 0) {
      close(listener_);
      close(fd);
      close(line[0]);
      const int mine = receive_passed(line[1]);
      if (request.fate == kPassedKilled) {
        char closed = 0;
        receive_all(line[1], &closed, 1);
        die_with_unread(mine);
      }
      send_all(line[1], "!", 1);
      finish(mine, request);
      _exit(0);
    }
    close(line[1]);
    pass(line[0], fd);
    if (request.fate == kPassed) {
      char has_it = 0;
      receive_all(line[0], &has_it, 1);
      die();
    }
    close(fd);
    send_all(line[0], "!", 1);
    must("waitpid", waitpid(child, nullptr, 0));
    close(line[0]);
  }

  // The child has used it: what a child has not used yet is reset with its parent (decision 003).
  [[noreturn]] void leave_to_child(int fd, const Request& request) const {
    int line[2];
    must("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, line));
    if (must("fork", fork()) == 0) {
      close(listener_);
      touch(fd);
      send_all(line[1], "!", 1);
      finish(fd, request);
      _exit(0);
    }
    char has_it = 0;
    receive_all(line[0], &has_it, 1);
    die();
  }

  int listener_ = -1;
};

volatile sig_atomic_t ended = 0;

void serve(int port, int lanes) {
  struct sigaction action {};
  action.sa_handler = [](int) { ended = 1; };  // wait() returns
  sigaction(SIGTERM, &action, nullptr);
  std::map<pid_t, int> lane_of;
  const auto start = [&](int lane) {
    const pid_t child = must("fork", fork());
    if (child == 0) {
      signal(SIGTERM, SIG_DFL);
      Worker(port + lane).run();
    }
    lane_of[child] = lane;
  };
  for (int lane = 0; lane < lanes; ++lane) start(lane);
  int killed = 0;
  while (ended == 0) {
    int status = 0;
    const pid_t gone = wait(&status);
    const auto at = lane_of.find(gone);
    if (at == lane_of.end()) continue;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) ++killed;
    const int lane = at->second;
    lane_of.erase(at);
    if (ended == 0) start(lane);
  }
  for (const auto& [child, lane] : lane_of) kill(child, SIGTERM);
  std::printf("%d workers were killed\n", killed);
}

void go_on(int fd, const Request& request) {
  if (request.fate == kExecKilled) die_with_unread(fd);
  finish(fd, request);
}

// ---- the load

class Lane {
 public:
  Lane(const char* host, int port) {
    address_.sin_family = AF_INET;
    address_.sin_port = htons(static_cast<uint16_t>(port));
    if (inet_pton(AF_INET, host, &address_.sin_addr) != 1) fail("address");
  }

  int fd() const { return fd_; }
  bool idle() const { return fd_ < 0; }
  short events() const {
    return static_cast<short>(POLLIN | (greeted_ && to_send() > 0 ? POLLOUT : 0));
  }

  void begin(int index, unsigned seed) {
    std::seed_seq seeds{seed, static_cast<unsigned>(index)};
    std::mt19937 random(seeds);
    index_ = index;
    request_.fate = static_cast<uint32_t>(index) % kFates;
    request_.seed = static_cast<uint32_t>(random());
    constexpr unsigned kMostBytes = 60'000;
    request_.first = 1 + static_cast<uint32_t>(random()) % kMostBytes;
    request_.all = request_.first + 1 + static_cast<uint32_t>(random()) % kMostBytes;
    open();
  }

  void feed() {
    char piece[4096];
    const size_t size = std::min(to_send(), sizeof piece);
    for (size_t i = 0; i < size; ++i) piece[i] = byte_at(sent_ + i);
    const ssize_t done = send(fd_, piece, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (done < 0 && errno != EAGAIN) return end(std::strerror(errno), errno == ECONNRESET);
    if (done > 0) sent_ += static_cast<size_t>(done);
    if (sent_ == request_.all && !request_.ends_early()) shutdown(fd_, SHUT_WR);
  }

  void give_up() { end("nothing happens any more", false); }

  // False: it is opened once more.
  bool take() {
    char piece[4096];
    const ssize_t got = recv(fd_, piece, greeted_ ? sizeof piece : 1, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return true;
    if (!greeted_) return greet(got);
    if (got < 0) {
      end(std::strerror(errno), errno == ECONNRESET);
    } else if (got == 0) {
      end("the end", true);
    }
    for (ssize_t i = 0; i < got; ++i, ++received_) {
      if (piece[i] == byte_at(received_)) continue;
      end("a wrong byte", false);
      break;
    }
    return true;
  }

  const std::map<int, std::string>& lines() const { return lines_; }

 private:
  void open() {
    sent_ = received_ = 0;
    greeted_ = false;
    fd_ = must("socket", socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    if (connect(fd_, reinterpret_cast<sockaddr*>(&address_), sizeof address_) < 0 &&
        errno != EINPROGRESS && errno != ECONNREFUSED) {
      fail("connect");
    }
  }

  // A process that is being killed ends its connection before its listener, so the next one may
  // be refused or reset, by the kernel too. One that has been accepted never is.
  bool greet(ssize_t got) {
    greeted_ = got == 1;
    if (greeted_) {
      const ssize_t done = send(fd_, &request_, sizeof request_, MSG_NOSIGNAL);
      if (done != sizeof request_) fail("request");
    } else if (got < 0 && (errno == ECONNREFUSED || errno == ECONNRESET)) {
      close(fd_);
      usleep(1000);
      open();
    } else {
      end(got == 0 ? "the end at once" : std::strerror(errno), false);
    }
    return greeted_;
  }

  size_t to_send() const {
    if (!request_.ends_early()) return request_.all - sent_;
    if (sent_ < request_.first) return request_.first - sent_;
    return received_ < request_.first ? 0 : request_.first + kUnread - sent_;
  }

  char byte_at(size_t at) const {
    return static_cast<char>((at * 2654435761U + request_.seed) >> 11U);
  }

  void end(const char* how, bool ordinary) {
    const bool any = request_.fate == kKilledEmpty && ordinary;
    lines_[index_] = std::to_string(index_) + " " + kNames[request_.fate] + ": " +
                     std::to_string(received_) + " right, " + (any ? "ended" : how);
    close(fd_);
    fd_ = -1;
  }

  sockaddr_in address_{};
  int fd_ = -1;
  bool greeted_ = false;
  int index_ = 0;
  Request request_{};
  size_t sent_ = 0;
  size_t received_ = 0;
  std::map<int, std::string> lines_;
};

// A lane has each LANESth connection, one after the other: the order of its fates is the seed's.
void load(const char* host, int port, int lanes, unsigned seed, int count) {
  std::vector<Lane> all;
  std::vector<int> next;
  for (int lane = 0; lane < lanes; ++lane) {
    all.emplace_back(host, port + lane);
    next.push_back(lane);
  }
  std::mt19937 random(seed);
  std::vector<int> indices(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) indices[static_cast<size_t>(i)] = i;
  std::shuffle(indices.begin(), indices.end(), random);
  constexpr time_t kLimitS = 30;
  time_t progress = time(nullptr);
  for (;;) {
    std::vector<pollfd> fds;
    std::vector<Lane*> who;
    for (size_t i = 0; i < all.size(); ++i) {
      if (all[i].idle() && next[i] < count) {
        all[i].begin(indices[static_cast<size_t>(next[i])], seed);
        next[i] += lanes;
      }
      if (all[i].idle()) continue;
      fds.push_back({all[i].fd(), all[i].events(), 0});
      who.push_back(&all[i]);
    }
    if (fds.empty()) break;
    poll(fds.data(), fds.size(), 1000);
    for (size_t i = 0; i < fds.size(); ++i) {
      if ((fds[i].revents & ~POLLOUT) != 0 && who[i]->take()) progress = time(nullptr);
      if (who[i]->idle() || (fds[i].revents & ~POLLIN) != POLLOUT) continue;
      who[i]->feed();
    }
    if (time(nullptr) - progress > kLimitS) {
      for (Lane* const one : who) one->give_up();
      break;
    }
  }
  std::map<int, std::string> lines;
  for (const Lane& lane : all) lines.insert(lane.lines().begin(), lane.lines().end());
  for (const auto& [index, line] : lines) std::printf("%s\n", line.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  const auto number = [&](int at) { return std::atoi(argv[at]); };
  if (what == "serve" && argc == 4) {
    serve(number(2), number(3));
    return 0;
  }
  if (what == "go-on" && argc == 6) {
    Request request{};
    request.fate = static_cast<uint32_t>(number(3));
    request.first = static_cast<uint32_t>(number(4));
    request.all = static_cast<uint32_t>(number(5));
    go_on(number(2), request);
    return 0;
  }
  if (what == "load" && argc == 7) {
    load(argv[2], number(3), number(4), static_cast<unsigned>(number(5)), number(6));
    return 0;
  }
  std::fprintf(stderr, "usage: see kills.cpp\n");
  return 2;
}
