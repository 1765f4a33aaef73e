// ping_pong.cpp - a small message to and fro over plain sockets; every round trip is recorded
//
//   ping_pong server tcp|udp --port=N [--bytes=64] [--spin]
//   ping_pong client tcp|udp --address=A --port=N [--bytes=64] [--spin] [--seconds=1]
//   [--warm-up=0.1]
//
// --spin: calls recv with MSG_DONTWAIT until it has something, and so never sleeps in the kernel.
// The server serves one connection after another; it is to be killed.
#include <cstdint>
#include <cstring>
#include <vector>

#include "tools/bench/arguments.h"
#include "tools/bench/round_trips.h"
#include "tools/bench/sockets.h"

namespace underpass::bench {
namespace {

constexpr const char* kName = "ping_pong";
// 2 us a round trip for a minute; nothing here is as fast.
constexpr size_t kMaxSamples = 4'000'000;
// A datagram that has not come back by then is counted as lost.
constexpr timeval kLostAfter = {0, 200'000};

struct Exchange {
  int fd;
  int type;
  bool spin;
  size_t bytes;

  bool receive_whole(char* data) const;
  void send_whole(const char* data) const;
};

// One recv, repeated while there is nothing if spinning.
ssize_t receive(const Exchange& with, char* data, size_t bytes, sockaddr_in* from = nullptr) {
  socklen_t length = sizeof *from;
  for (;;) {
    const ssize_t got = from == nullptr
                            ? recv(with.fd, data, bytes, with.spin ? MSG_DONTWAIT : 0)
                            : recvfrom(with.fd, data, bytes, with.spin ? MSG_DONTWAIT : 0,
                                       reinterpret_cast<sockaddr*>(from), &length);
    const bool again = got < 0 && (errno == EINTR || (with.spin && errno == EAGAIN));
    if (!again) return got;
  }
}

// False at the end of the stream, or when a datagram does not come.
bool Exchange::receive_whole(char* data) const {
  for (size_t have = 0; have < bytes;) {
    const ssize_t got = receive(*this, data + have, bytes - have);
    if (got < 0 && errno != EAGAIN) fail(kName, "recv", errno);
    if (got <= 0) return false;
    have += static_cast<size_t>(got);
  }
  return true;
}

void Exchange::send_whole(const char* data) const {
  for (size_t sent = 0; sent < bytes;) {
    const ssize_t put = send(fd, data + sent, bytes - sent, MSG_NOSIGNAL);
    if (put < 0) fail(kName, "send", errno);
    sent += static_cast<size_t>(put);
  }
}

[[noreturn]] void serve_tcp(int listener, Exchange with) {
  std::vector<char> data(with.bytes);
  for (;;) {
    with.fd = checked(accept(listener, nullptr, nullptr), kName, "accept");
    set_no_delay(with.fd);
    while (with.receive_whole(data.data())) with.send_whole(data.data());
    close(with.fd);
  }
}

[[noreturn]] void serve_udp(const Exchange& with) {
  std::vector<char> data(with.bytes);
  for (;;) {
    sockaddr_in from{};
    const ssize_t got = receive(with, data.data(), data.size(), &from);
    if (got < 0) fail(kName, "recvfrom", errno);
    sendto(with.fd, data.data(), static_cast<size_t>(got), 0, reinterpret_cast<sockaddr*>(&from),
           sizeof from);
  }
}

// Returns whether the answer to `number` came; an older answer is dropped.
bool round_trip(const Exchange& with, std::vector<char>& data, uint64_t number) {
  std::memcpy(data.data(), &number, sizeof number);
  with.send_whole(data.data());
  for (;;) {
    if (!with.receive_whole(data.data())) return false;
    uint64_t answer = 0;
    std::memcpy(&answer, data.data(), sizeof answer);
    if (answer == number) return true;
  }
}

void measure(const Exchange& with, double warm_up_s, double seconds) {
  RoundTrips trips(kMaxSamples);
  std::vector<char> data(with.bytes);
  const uint64_t start = now_ns();
  const uint64_t first = start + static_cast<uint64_t>(warm_up_s * 1e9);
  const uint64_t end = first + static_cast<uint64_t>(seconds * 1e9);
  uint64_t lost = 0;
  uint64_t before = start;
  for (uint64_t number = 1; before < end && !trips.full(); number++) {
    const bool came = round_trip(with, data, number);
    if (!came && with.type == SOCK_STREAM) fail(kName, "the server closed the connection");
    const uint64_t after = now_ns();
    if (!came) lost++;
    if (came && before >= first) trips.record(after - before);
    before = after;
  }
  trips.print(lost);
}

int run(const Arguments& arguments) {
  if (arguments.words.size() != 2) fail(kName, "usage: ping_pong server|client tcp|udp OPTIONS");
  const bool is_server = arguments.words[0] == "server";
  const int type = arguments.words[1] == "tcp" ? SOCK_STREAM : SOCK_DGRAM;
  const sockaddr_in address = address_of(arguments, kName);
  const int fd =
      is_server ? server_socket(type, address, kName) : connected_socket(type, address, kName);
  Exchange with{fd, type, arguments.has("spin"), arguments.count("bytes", 64)};
  if (with.bytes < sizeof(uint64_t)) fail(kName, "--bytes= must be at least 8");
  if (is_server && type == SOCK_STREAM) serve_tcp(fd, with);
  if (is_server && type == SOCK_DGRAM) serve_udp(with);
  if (!is_server) {
    if (type == SOCK_DGRAM) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kLostAfter, sizeof kLostAfter);
    measure(with, arguments.number("warm-up", 0.1), arguments.number("seconds", 1));
  }
  return 0;
}

}  // namespace
}  // namespace underpass::bench

int main(int argc, char** argv) {
  using namespace underpass::bench;
  return run(
      Arguments(argc, argv, kName, {"address", "port", "bytes", "spin", "seconds", "warm-up"}));
}
