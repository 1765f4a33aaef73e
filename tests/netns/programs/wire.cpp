// wire.cpp - the wire between two interfaces: it loses TCP frames, and brings some late
//
//   wire ONE OTHER SEED     of both directions; in tens of thousands: 150 lost, 150 late
//
// What is late comes behind one to four others of its direction, or after two milliseconds.
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <random>
#include <vector>

namespace {

constexpr unsigned kLostOfTenThousand = 150;
constexpr unsigned kLateOfTenThousand = 150;
constexpr uint64_t kLateUs = 2000;
using Frame = std::vector<uint8_t>;

int must(const char* what, int result) {
  if (result >= 0) return result;
  std::perror(what);
  std::_Exit(1);
}

uint64_t now_us() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000 +
         static_cast<uint64_t>(time.tv_nsec) / 1000;
}

bool is_tcp(const Frame& frame) {
  constexpr size_t kV4Protocol = 14 + 9;
  constexpr size_t kV6Protocol = 14 + 6;
  if (frame.size() <= kV4Protocol) return false;
  const int type = frame[12] << 8 | frame[13];
  return (type == ETHERTYPE_IP && frame[kV4Protocol] == IPPROTO_TCP) ||
         (type == ETHERTYPE_IPV6 && frame[kV6Protocol] == IPPROTO_TCP);
}

class End {
 public:
  explicit End(const char* name) {
    socket_ = must("socket", socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0));
    const int bytes = 16 << 20;
    const int on = 1;
    must("SO_RCVBUFFORCE", setsockopt(socket_, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes));
    must("PACKET_IGNORE_OUTGOING",
         setsockopt(socket_, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on));
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = must("if_nametoindex", static_cast<int>(if_nametoindex(name)));
    must("bind", bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address));
  }
  int fd() const { return socket_; }

  bool receive(Frame& frame) const {
    frame.resize(2048);
    const ssize_t got = recv(socket_, frame.data(), frame.size(), MSG_TRUNC);
    if (got < 0) return false;
    if (static_cast<size_t>(got) > frame.size()) {
      std::fprintf(stderr, "a frame of %zd bytes: offloads are on\n", got);
      std::_Exit(1);
    }
    frame.resize(static_cast<size_t>(got));
    return true;
  }
  // A full queue loses it, as wires do.
  void send_on(const Frame& frame) const {
    if (send(socket_, frame.data(), frame.size(), 0) < 0 && errno != ENOBUFS && errno != EAGAIN) {
      must("send", -1);
    }
  }

 private:
  int socket_ = -1;
};

class Direction {
 public:
  Direction(const End& from, const End& to, unsigned seed) : from_(from), to_(to), random_(seed) {}

  void carry() {
    constexpr int kAtOnce = 64;
    Frame frame;
    for (int i = 0; i < kAtOnce && from_.receive(frame); ++i) pass(frame);
    if (late_ && now_us() >= late_until_us_) deliver_late();
  }
  bool waits() const { return late_.has_value(); }

 private:
  void pass(Frame& frame) {
    if (is_tcp(frame)) {
      const unsigned fate = random_() % 10'000;
      if (fate < kLostOfTenThousand) return;
      if (fate < kLostOfTenThousand + kLateOfTenThousand && !late_) {
        late_ = frame;
        late_behind_ = 1 + random_() % 4;
        late_until_us_ = now_us() + kLateUs;
        return;
      }
    }
    to_.send_on(frame);
    if (late_ && --late_behind_ == 0) deliver_late();
  }
  void deliver_late() {
    to_.send_on(*late_);
    late_.reset();
  }

  const End& from_;
  const End& to_;
  std::mt19937 random_;
  std::optional<Frame> late_;
  unsigned late_behind_ = 0;
  uint64_t late_until_us_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: wire ONE OTHER SEED\n");
    return 2;
  }
  const auto seed = static_cast<unsigned>(std::atoi(argv[3]));
  const End one(argv[1]);
  const End other(argv[2]);
  Direction there(one, other, 2 * seed);
  Direction back(other, one, 2 * seed + 1);
  std::puts("carries");
  std::fflush(stdout);
  for (;;) {
    pollfd fds[] = {{one.fd(), POLLIN, 0}, {other.fd(), POLLIN, 0}};
    must("poll", poll(fds, 2, there.waits() || back.waits() ? 1 : -1));
    there.carry();
    back.carry();
  }
}
