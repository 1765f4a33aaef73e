// scenario.h - what the compared programs share: lines of the transcript, the peer, data, waiting
//
// A program here makes the calls of one group of scenarios and prints a line for each: what was
// called, what came back. The test runs it on the kernel and on bypass and compares the lines, so a
// line holds nothing that differs between two runs: no port, no time, no pid. The program reads the
// name of a scenario from stdin, runs it, prints, and ends the block with "== end".
//
// The other end of a connection is a peer (peer.cpp) on the other host, asked over a Unix socket.
#pragma once

#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "names.h"

namespace scenario {

// What the test must see on the counters of the host while the scenario runs under Underpass.
enum class Proof {
  kTcp,        // TCP frames through AF_XDP, and none through the kernel's TCP
  kTcpHybrid,  // TCP frames through AF_XDP; the kernel has its part too
  kUdp,        // UDP frames through AF_XDP
  kNone,       // nothing is sent over the interface
};

struct Scenario {
  const char* name;
  Proof proof;
  void (*run)();
};

// ---- lines

inline std::string format(const char* pattern, va_list arguments) {
  char text[1024];
  vsnprintf(text, sizeof text, pattern, arguments);
  return text;
}

[[gnu::format(printf, 1, 2)]] inline void note(const char* pattern, ...) {
  va_list arguments;
  va_start(arguments, pattern);
  printf("%s\n", format(pattern, arguments).c_str());
  va_end(arguments);
}

inline const char* errno_name(int code) {
  const char* name = code == 0 ? "0" : strerrorname_np(code);
  return name == nullptr ? "?" : name;
}

// The line of a call that returns a number. Evaluated after the call, so errno is still the call's.
inline long said(const char* call, long result) {
  const int code = errno;
  if (result == -1) {
    note("%s = -1 %s", call, errno_name(code));
  } else {
    note("%s = %ld", call, result);
  }
  errno = code;
  return result;
}

inline uint32_t digest(const void* data, size_t bytes, uint32_t hash = 2166136261U) {
  const auto* at = static_cast<const uint8_t*>(data);
  for (size_t i = 0; i < bytes; ++i) hash = (hash ^ at[i]) * 16777619U;
  return hash;
}

// The same, with what was received: as text when short, else a digest.
inline long said_data(const char* call, long result, const void* data) {
  const int code = errno;
  if (result <= 0) return said(call, result);
  const auto bytes = static_cast<size_t>(result);
  if (bytes <= 40) {
    note("%s = %ld '%.*s'", call, result, static_cast<int>(bytes), static_cast<const char*>(data));
  } else {
    note("%s = %ld #%08x", call, result, digest(data, bytes));
  }
  errno = code;
  return result;
}

// Success or errno, for calls whose value differs between runs.
inline bool worked(const char* call, long result) {
  const int code = errno;
  note("%s = %s", call, result >= 0 ? "ok" : errno_name(code));
  return result >= 0;
}

[[noreturn]] inline void give_up(const char* what) {
  printf("gave up: %s: %s\n", what, errno_name(errno));
  fflush(stdout);
  _exit(3);
}

inline int must(const char* what, int result) {
  if (result < 0) give_up(what);
  return result;
}

inline std::string event_names(uint32_t events) {
  static constexpr std::pair<uint32_t, const char*> kNames[] = {
      {POLLIN, "IN"},         {POLLPRI, "PRI"},       {POLLOUT, "OUT"},
      {POLLERR, "ERR"},       {POLLHUP, "HUP"},       {POLLNVAL, "NVAL"},
      {POLLRDNORM, "RDNORM"}, {POLLRDBAND, "RDBAND"}, {POLLWRNORM, "WRNORM"},
      {POLLWRBAND, "WRBAND"}, {POLLRDHUP, "RDHUP"},
  };
  std::string names;
  for (const auto& [bit, name] : kNames) {
    if ((events & bit) == 0) continue;
    if (!names.empty()) names += '|';
    names += name;
  }
  return names.empty() ? "0" : names;
}

// ---- names

// An address of the network that nobody has, and that no earlier program has tried.
inline Name nobody() {
  static int used = 0;
  constexpr int kFirst = 20;
  constexpr int kCount = 200;
  const auto last = static_cast<uint8_t>(kFirst + (getpid() + used++) % kCount);
  return at(neighbour_of(peer_ip, last), 7);
}

inline void said_name(const char* call, long result, const Name& name, socklen_t length) {
  if (result < 0) {
    said(call, result);
    return;
  }
  note("%s = %ld family %d %s:%s length %u", call, result, name.any.sa_family, ip_name(ip_of(name)),
       port_in(name) == 0 ? "0" : "port", length);
  if (name.any.sa_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
    note("scope %d, flow %u", name.v6.sin6_scope_id != 0, name.v6.sin6_flowinfo);
  }
}

inline void said_sockname(int fd) {
  Name name{};
  socklen_t length = size(name);
  const int result = getsockname(fd, plain(name), &length);
  said_name("getsockname", result, name, length);
}
inline void said_peername(int fd) {
  Name name{};
  socklen_t length = size(name);
  const int result = getpeername(fd, plain(name), &length);
  said_name("getpeername", result, name, length);
}
inline int port_of(int fd) {
  Name name{};
  socklen_t length = size(name);
  if (getsockname(fd, plain(name), &length) != 0) return 0;
  return port_in(name);
}
inline int peer_port_of(int fd) {
  Name name{};
  socklen_t length = size(name);
  if (getpeername(fd, plain(name), &length) != 0) return 0;
  return port_in(name);
}

// ---- data: byte i of a stream is a function of i

inline uint8_t pattern_byte(size_t i) { return static_cast<uint8_t>('a' + (i * 7 + i / 257) % 26); }

inline std::string pattern(size_t bytes, size_t from = 0) {
  std::string data(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) data[i] = static_cast<char>(pattern_byte(from + i));
  return data;
}

// ---- the peer

inline int control_fd = -1;

// Sends a command; the peer works through them one after the other.
[[gnu::format(printf, 1, 2)]] inline void ask(const char* pattern, ...) {
  va_list arguments;
  va_start(arguments, pattern);
  const std::string line = format(pattern, arguments) + "\n";
  va_end(arguments);
  if (write(control_fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    give_up("the peer's control connection");
  }
}

inline std::string answer() {
  std::string line;
  char one = 0;
  for (;;) {
    const ssize_t got = read(control_fd, &one, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got != 1) give_up("the peer's answer");
    if (one == '\n') return line;
    line += one;
  }
}

// A command and its answer.
[[gnu::format(printf, 1, 2)]] inline std::string peer(const char* pattern, ...) {
  va_list arguments;
  va_start(arguments, pattern);
  const std::string line = format(pattern, arguments);
  va_end(arguments);
  ask("%s", line.c_str());
  return answer();
}

// The same, as a line of the transcript.
[[gnu::format(printf, 1, 2)]] inline void peer_said(const char* pattern, ...) {
  va_list arguments;
  va_start(arguments, pattern);
  const std::string line = format(pattern, arguments);
  va_end(arguments);
  const std::string got = peer("%s", line.c_str());
  note("peer %s: %s", line.c_str(), got.c_str());
}

inline void answer_said(const char* what) {
  const std::string got = answer();
  note("peer %s: %s", what, got.c_str());
}

inline int number(const std::string& text) { return atoi(text.c_str()); }

// Values that the compiler must not know: it would warn.
inline volatile uintptr_t bad_address = 16;
inline volatile int minus_one = -1;

inline void* bad_pointer() { return reinterpret_cast<void*>(bad_address); }

// ---- sockets in a state

inline int tcp(int flags = 0) { return must("socket", socket(family, SOCK_STREAM | flags, 0)); }
inline int udp(int flags = 0) { return must("socket", socket(family, SOCK_DGRAM | flags, 0)); }

inline int listening(Name address = mine(), int backlog = 8, int flags = 0) {
  const int fd = tcp(flags);
  must("bind", bind(fd, plain(address), size(address)));
  must("listen", listen(fd, backlog));
  return fd;
}

// Our connect, the peer's slot `slot`.
inline int connected(int slot = 1) {
  const int port = number(peer("listen 0"));
  const int fd = tcp();
  Name address = theirs(port);
  must("connect", connect(fd, plain(address), size(address)));
  peer("accept 0 %d", slot);
  peer("close 0");
  return fd;
}

// The peer's connect, our accept.
inline int accepted(int slot = 1) {
  const int listener = listening();
  ask("connect %d %d", slot, port_of(listener));
  const int fd = must("accept", accept(listener, nullptr, nullptr));
  answer();
  must("close", close(listener));
  return fd;
}

// Both directions of the opening of a connection.
inline void both_ways(void (*body)(int)) {
  note("-- connected");
  int fd = connected();
  body(fd);
  peer("forget");
  close(fd);
  note("-- accepted");
  fd = accepted();
  body(fd);
  peer("forget");
  close(fd);
}

inline void set_nonblocking(int fd, bool on) {
  const int flags = must("F_GETFL", fcntl(fd, F_GETFL));
  must("F_SETFL", fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

inline void set_option(int fd, int level, int name, int value) {
  must("setsockopt", setsockopt(fd, level, name, &value, sizeof value));
}

inline void set_timeout(int fd, int name, int milliseconds) {
  const timeval time{milliseconds / 1000, (milliseconds % 1000) * 1000};
  must("timeout", setsockopt(fd, SOL_SOCKET, name, &time, sizeof time));
}

// ---- waiting; limits only keep a hang from lasting

constexpr int kLimitMs = 5000;
constexpr short kAllEvents = POLLIN | POLLPRI | POLLOUT | POLLRDHUP;

inline short poll_now(int fd, short events = kAllEvents) {
  pollfd one{fd, events, 0};
  poll(&one, 1, 0);
  return one.revents;
}

inline void said_poll(int fd, short events = kAllEvents) {
  note("poll = %s", event_names(static_cast<uint16_t>(poll_now(fd, events))).c_str());
}

template <typename Condition>
bool eventually(Condition condition) {
  for (int i = 0; i < kLimitMs; ++i) {
    if (condition()) return true;
    usleep(1000);
  }
  return false;
}

// Until poll reports at least these; the line has all that it reports then.
inline void await(int fd, short wanted) {
  short events = 0;
  const bool came = eventually([&] { return ((events = poll_now(fd)) & wanted) == wanted; });
  note("await %s: %s%s", event_names(static_cast<uint16_t>(wanted)).c_str(),
       event_names(static_cast<uint16_t>(events)).c_str(), came ? "" : " (in vain)");
}

inline int unread(int fd) {
  int bytes = -1;
  ioctl(fd, FIONREAD, &bytes);
  return bytes;
}

inline void await_unread(int fd, int bytes) {
  const bool came = eventually([&] { return unread(fd) >= bytes; });
  note("await FIONREAD %d: %d%s", bytes, unread(fd), came ? "" : " (in vain)");
}

inline void said_so_error(int fd) {
  int code = -1;
  socklen_t length = sizeof code;
  const int result = getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &length);
  if (result != 0) {
    said("SO_ERROR", result);
  } else {
    note("SO_ERROR = %s", errno_name(code));
  }
}

// Reads to the end in pieces; a line with how much came and how it ended.
inline void drain(int fd, size_t piece = 65536) {
  std::string buffer(piece, '\0');
  size_t total = 0;
  uint32_t hash = digest(nullptr, 0);
  ssize_t got = 0;
  while ((got = recv(fd, buffer.data(), buffer.size(), 0)) > 0) {
    hash = digest(buffer.data(), static_cast<size_t>(got), hash);
    total += static_cast<size_t>(got);
  }
  const int code = errno;
  note("drained %zu #%08x, then %s", total, hash, got == 0 ? "EOF" : errno_name(code));
}

// Exactly `bytes`; a line.
inline void receive_exactly(int fd, size_t bytes) {
  std::string buffer(bytes, '\0');
  size_t total = 0;
  ssize_t got = 1;
  while (total < bytes && (got = recv(fd, &buffer[total], bytes - total, 0)) > 0) {
    total += static_cast<size_t>(got);
  }
  const int code = errno;
  note("received %zu #%08x%s", total, digest(buffer.data(), total),
       got > 0 ? "" : (got == 0 ? " EOF" : errno_name(code)));
}

// ---- full buffers

inline size_t fill(int fd) {
  const std::string data = pattern(1 << 20);
  size_t total = 0;
  for (;;) {
    const ssize_t sent = send(fd, data.data(), data.size(), MSG_DONTWAIT);
    if (sent < 0) break;
    total += static_cast<size_t>(sent);
  }
  return total;
}

// Until not a byte more is taken: the peer's buffer is full, too.
inline size_t fill_all(int fd) {
  size_t total = fill(fd);
  for (int quiet = 0; quiet < 20; ++quiet) {
    usleep(1000);
    const size_t more = fill(fd);
    if (more != 0) quiet = 0;
    total += more;
  }
  return total;
}

// Two runs need not agree to the byte.
inline const char* about(size_t bytes, size_t from, size_t to) {
  if (bytes < from) return "less";
  return bytes > to ? "more" : "as it should be";
}

// ---- threads

// A thread that makes one blocking call.
class Worker {
 public:
  explicit Worker(std::function<void()> body)
      : thread_([this, work = std::move(body)] {
          tid_ = gettid();
          work();
          done_ = true;
        }) {}

  // Until the thread sleeps in the kernel: it has entered its call.
  void await_blocked() const {
    if (!eventually([this] { return tid_ != 0 && (done_ || sleeps(tid_)); })) note("never blocked");
  }
  bool done() const { return done_; }
  void join() { thread_.join(); }
  // True if the thread has ended by itself within the limit.
  bool await_done() const {
    return eventually([this] { return done_.load(); });
  }
  pthread_t handle() { return thread_.native_handle(); }
  pid_t tid() const { return tid_; }

  static bool sleeps(pid_t tid) {
    const std::string path = "/proc/self/task/" + std::to_string(tid) + "/stat";
    const int fd = open(path.c_str(), O_RDONLY);
    if (fd < 0) return false;
    char text[512] = {};
    const ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    const char* end = got > 0 ? strrchr(text, ')') : nullptr;
    return end != nullptr && end[2] == 'S';
  }

 private:
  std::atomic<pid_t> tid_ = 0;
  std::atomic<bool> done_ = false;
  std::thread thread_;
};

// ---- signals

inline std::atomic<int> signals_seen = 0;

inline void count_signal(int) { signals_seen.fetch_add(1); }

inline void on_signal(int number, void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  must("sigaction", sigaction(number, &action, nullptr));
  signals_seen = 0;
}

// SIGALRM again and again until told otherwise: one that comes before the call blocks is not the
// last.
inline void alarm_every_ms(int milliseconds) {
  const itimerval timer{{0, milliseconds * 1000}, {0, milliseconds * 1000}};
  must("setitimer", setitimer(ITIMER_REAL, &timer, nullptr));
}
inline void no_alarm() {
  const itimerval timer{};
  setitimer(ITIMER_REAL, &timer, nullptr);
}

// ---- main

inline const char* proof_name(Proof proof) {
  switch (proof) {
    case Proof::kTcp:
      return "tcp";
    case Proof::kTcpHybrid:
      return "tcp+kernel";
    case Proof::kUdp:
      return "udp";
    case Proof::kNone:
      break;
  }
  return "none";
}

inline void list(std::span<const Scenario> scenarios) {
  for (const Scenario& one : scenarios) note("%s %s", one.name, proof_name(one.proof));
}

inline void run_named(std::span<const Scenario> scenarios, const char* name) {
  for (const Scenario& one : scenarios) {
    if (strcmp(one.name, name) == 0) one.run();
  }
  peer("forget");
  note("== end");
  fflush(stdout);
}

// `NAME list`, or `NAME CONTROL_FD MY_ADDRESS PEER_ADDRESS` with names on stdin.
inline int main(int argc, char** argv, std::span<const Scenario> scenarios) {
  if (argc == 2 && strcmp(argv[1], "list") == 0) {
    list(scenarios);
    return 0;
  }
  if (argc != 4 || !read_hosts(argv[2], argv[3])) return 2;
  // Out of the way: the numbers that a scenario sees are the lowest free ones.
  constexpr int kHighFd = 200;
  control_fd = must("F_DUPFD", fcntl(atoi(argv[1]), F_DUPFD_CLOEXEC, kHighFd));
  if (close(atoi(argv[1])) != 0) return 2;
  setvbuf(stdout, nullptr, _IOLBF, 0);
  char line[128];
  while (fgets(line, sizeof line, stdin) != nullptr) {
    line[strcspn(line, "\n")] = '\0';
    run_named(scenarios, line);
  }
  return 0;
}

}  // namespace scenario
