// torture.cpp - connections that move to the kernel at random moments, with data in both directions
//
//   torture serve PORT SEED [calm]        echoes; children take connections away from its stack,
//   unless it is calm torture load HOST PORT SEED COUNT     COUNT connections, which want back what
//   they send
//
// All that is random comes from SEED. The load prints "COUNT connections, N bytes right"; the
// server, at SIGTERM, "passed N: median M us, p99 P us": how long the calls took that gave a
// connection to another process by SCM_RIGHTS.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
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

volatile sig_atomic_t ended = 0;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
  std::_Exit(1);
}
int must(const char* what, int result) {
  if (result < 0) fail(what);
  return result;
}

double now_us() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}

// Of either family; without a host, all addresses of both.
struct Address {
  Address(const char* host, int port) {
    const auto number = htons(static_cast<uint16_t>(port));
    v4.sin_family = AF_INET;
    v4.sin_port = number;
    if (host != nullptr && inet_pton(AF_INET, host, &v4.sin_addr) == 1) return;
    is_v4 = false;
    v6.sin6_family = AF_INET6;
    v6.sin6_port = number;
    if (host != nullptr) inet_pton(AF_INET6, host, &v6.sin6_addr);
  }
  int family() const { return is_v4 ? AF_INET : AF_INET6; }
  const sockaddr* plain() const {
    return is_v4 ? reinterpret_cast<const sockaddr*>(&v4) : reinterpret_cast<const sockaddr*>(&v6);
  }
  socklen_t length() const { return is_v4 ? sizeof v4 : sizeof v6; }

  bool is_v4 = true;
  sockaddr_in v4{};
  sockaddr_in6 v6{};
};

// ---- the server

class Server {
 public:
  Server(int port, unsigned seed, bool calm) : random_(seed), calm_(calm) {
    const Address address(nullptr, port);
    listener_ = must("socket", socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK, 0));
    const int on = 1;
    setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    must("bind", bind(listener_, address.plain(), address.length()));
    must("listen", listen(listener_, 1024));
    set_ = must("epoll_create1", epoll_create1(EPOLL_CLOEXEC));
    watch(EPOLL_CTL_ADD, listener_, EPOLLIN);
  }

  void run() {
    while (ended == 0) {
      epoll_event events[64];
      const int count = epoll_wait(set_, events, 64, 20);
      for (int i = 0; i < count; ++i) {
        const int fd = events[i].data.fd;
        if (fd == listener_) {
          accept_all();
        } else {
          serve(fd);
        }
      }
      if (!calm_ && chance(20)) disturb();
      while (waitpid(-1, nullptr, WNOHANG) > 0) {
      }
    }
    report();
  }

 private:
  struct Connection {
    std::string waiting;
    size_t sent = 0;
    bool finished = false;
    bool for_writing = false;
    bool moved = false;
  };

  bool chance(unsigned one_in) { return random_() % one_in == 0; }

  void watch(int operation, int fd, uint32_t what) {
    epoll_event event{};
    event.events = what;
    event.data.fd = fd;
    must("epoll_ctl", epoll_ctl(set_, operation, fd, &event));
  }

  void accept_all() {
    for (;;) {
      const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK);
      if (fd < 0) return;
      connections_[fd] = {};
      watch(EPOLL_CTL_ADD, fd, EPOLLIN);
    }
  }

  // Reads some, writes what fits. Now and then another process takes part in the middle of it.
  void serve(int fd) {
    const auto at = connections_.find(fd);
    if (at == connections_.end()) return;
    Connection& one = at->second;
    if (!calm_ && chance(40)) move(fd, one);
    if (!one.finished && one.waiting.size() - one.sent < kMostWaiting) {
      char piece[16384];
      const ssize_t got = recv(fd, piece, 1 + random_() % sizeof piece, 0);
      if (got == 0) one.finished = true;
      if (got > 0) one.waiting.append(piece, static_cast<size_t>(got));
      if (got < 0 && errno != EAGAIN) fail("recv");
    }
    if (!calm_ && chance(80)) move(fd, one);
    while (one.sent < one.waiting.size()) {
      const ssize_t done =
          send(fd, &one.waiting[one.sent], one.waiting.size() - one.sent, MSG_NOSIGNAL);
      if (done < 0 && errno != EAGAIN) fail("send");
      if (done < 0) break;
      one.sent += static_cast<size_t>(done);
    }
    const bool all = one.sent == one.waiting.size();
    if (all) {
      one.waiting.clear();
      one.sent = 0;
    }
    if (all && one.finished) {
      connections_.erase(at);
      if (chance(2)) shutdown(fd, SHUT_WR);
      close(fd);
      return;
    }
    if (one.for_writing == all) {
      one.for_writing = !all;
      const uint32_t in = one.finished ? 0U : static_cast<uint32_t>(EPOLLIN);
      watch(EPOLL_CTL_MOD, fd, in | (all ? 0U : static_cast<uint32_t>(EPOLLOUT)));
    }
  }

  void move(int fd, Connection& one) {
    if (chance(2)) {
      in_child([fd] { touch(fd); });
    } else {
      const double took_us = pass(fd);
      if (!one.moved) took_us_.push_back(took_us);
    }
    one.moved = true;
  }

  static void touch(int fd) {
    int error = 0;
    socklen_t bytes = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
  }

  template <class Body>
  static void in_child(Body body) {
    const pid_t child = must("fork", fork());
    if (child != 0) return;
    body();
    _exit(0);
  }

  static double pass(int fd) {
    int line[2];
    must("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, line));
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
    const double start = now_us();
    must("sendmsg", static_cast<int>(sendmsg(line[0], &message, 0)));
    const double took_us = now_us() - start;
    close(line[0]);
    close(line[1]);
    return took_us;
  }

  // Children that do nothing, that stay for a while, that become other programs, or that touch
  // many.
  void disturb() {
    switch (random_() % 4) {
      case 0:
        return in_child([] {});
      case 1:
        return in_child([] { usleep(30'000); });
      case 2:
        return in_child([] { execlp("true", "true", nullptr); });
      default: {
        std::vector<int> some;
        for (const auto& [fd, connection] : connections_) {
          if (chance(8)) some.push_back(fd);
        }
        return in_child([&] {
          for (const int fd : some) touch(fd);
        });
      }
    }
  }

  void report() {
    std::sort(took_us_.begin(), took_us_.end());
    const auto at = [&](size_t percent) {
      return took_us_.empty() ? 0.0 : took_us_[(took_us_.size() - 1) * percent / 100];
    };
    std::printf("passed %zu: median %.0f us, p99 %.0f us\n", took_us_.size(), at(50), at(99));
  }

  static constexpr size_t kMostWaiting = 65536;
  std::mt19937 random_;
  const bool calm_;
  int listener_ = -1;
  int set_ = -1;
  std::map<int, Connection> connections_;
  std::vector<double> took_us_;
};

// ---- the load

struct Stream {
  int fd = -1;
  uint32_t seed = 0;
  size_t bytes = 0;
  size_t sent = 0;
  size_t received = 0;
};

uint8_t byte_of(const Stream& stream, size_t at) {
  return static_cast<uint8_t>((at * 2654435761U + stream.seed) >> 11U);
}

void feed(Stream& one, std::mt19937& random) {
  uint8_t piece[8192];
  const size_t count = std::min<size_t>(one.bytes - one.sent, 1 + random() % sizeof piece);
  for (size_t i = 0; i < count; ++i) piece[i] = byte_of(one, one.sent + i);
  const ssize_t done = send(one.fd, piece, count, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (done < 0 && errno != EAGAIN) fail("send");
  if (done > 0) one.sent += static_cast<size_t>(done);
  if (one.sent == one.bytes) shutdown(one.fd, SHUT_WR);
}

// True at the end.
bool take(Stream& one) {
  uint8_t piece[16384];
  const ssize_t got = recv(one.fd, piece, sizeof piece, MSG_DONTWAIT);
  if (got < 0 && errno != EAGAIN) fail("recv");
  for (ssize_t i = 0; i < got; ++i) {
    if (piece[i] == byte_of(one, one.received)) {
      ++one.received;
      continue;
    }
    std::printf("byte %zu of %zu is wrong\n", one.received, one.bytes);
    std::_Exit(1);
  }
  if (got == 0 && one.received != one.bytes) {
    std::printf("%zu of %zu bytes came back\n", one.received, one.bytes);
    std::_Exit(1);
  }
  return got == 0;
}

Stream open_stream(const char* host, int port, std::mt19937& random) {
  Stream one;
  const Address address(host, port);
  // On a bad wire each lost SYN would have all others wait.
  one.fd = must("socket", socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK, 0));
  if (connect(one.fd, address.plain(), address.length()) < 0 && errno != EINPROGRESS) {
    fail("connect");
  }
  one.seed = static_cast<uint32_t>(random());
  constexpr unsigned kMostBytes = 200'000;
  one.bytes = 1 + random() % kMostBytes;
  return one;
}

void load(const char* host, int port, unsigned seed, int count) {
  constexpr size_t kAtOnce = 32;
  std::mt19937 random(seed);
  std::vector<Stream> streams;
  size_t total = 0;
  int opened = 0;
  while (opened < count || !streams.empty()) {
    while (opened < count && streams.size() < kAtOnce) {
      streams.push_back(open_stream(host, port, random));
      total += streams.back().bytes;
      ++opened;
    }
    std::vector<pollfd> fds;
    for (const Stream& one : streams) {
      const int out = one.sent < one.bytes ? POLLOUT : 0;
      fds.push_back({one.fd, static_cast<short>(POLLIN | out), 0});
    }
    constexpr int kLimitMs = 30'000;
    if (poll(fds.data(), fds.size(), kLimitMs) == 0) {
      for (const Stream& one : streams) {
        std::printf("waits: sent %zu, received %zu of %zu\n", one.sent, one.received, one.bytes);
      }
      std::exit(1);
    }
    for (size_t i = fds.size(); i-- > 0;) {
      if ((fds[i].revents & POLLOUT) != 0) feed(streams[i], random);
      if ((fds[i].revents & ~POLLOUT) == 0 || !take(streams[i])) continue;
      close(streams[i].fd);
      streams[i] = streams.back();
      streams.pop_back();
    }
  }
  std::printf("%d connections, %zu bytes right\n", count, total);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  const bool calm = argc == 5 && std::string_view(argv[4]) == "calm";
  if (what == "serve" && (argc == 4 || calm)) {
    signal(SIGTERM, [](int) { ended = 1; });
    Server(std::atoi(argv[2]), static_cast<unsigned>(std::atoi(argv[3])), calm).run();
    return 0;
  }
  if (what == "load" && argc == 6) {
    load(argv[2], std::atoi(argv[3]), static_cast<unsigned>(std::atoi(argv[4])),
         std::atoi(argv[5]));
    return 0;
  }
  std::fprintf(stderr, "usage: see torture.cpp\n");
  return 2;
}
