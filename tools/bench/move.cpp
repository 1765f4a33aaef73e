// move.cpp - how long it takes to move connections to the kernel and back, in a program that runs
//
//   move server --port=N                                holds what it accepts
//   move client --address=A --port=N --connections=C    opens them, says "connected", and holds
//   them move drive --iface=I --pid=P --connections=C [--seconds=1]
//
// `drive` has the program of that pid leave bypass and come back, as `underpass detach` and
// `attach` do, over and over. It prints two lines of JSON: of the moves out, and of those in. A
// sample is the time from the question to the answer, by the number of connections. Server and
// client are to be killed.
#include <sys/types.h>

#include <cstdint>
#include <cstdio>

#include "tools/bench/arguments.h"
#include "tools/bench/round_trips.h"
#include "tools/bench/sockets.h"
#include "xdp/broker_client.h"

namespace underpass::bench {
namespace {

constexpr const char* kName = "move";
constexpr size_t kMaxSamples = 100'000;
constexpr double kNsPerS = 1e9;
// The peer's kernel has answered the first segments of the last move by then.
constexpr useconds_t kRestUs = 2000;

[[noreturn]] void serve(const sockaddr_in& address) {
  const int listener = server_socket(SOCK_STREAM, address, kName);
  for (;;) {
    const int fd = checked(accept(listener, nullptr, nullptr), kName, "accept");
    char byte = 0;
    // Both ends have it now.
    if (recv(fd, &byte, 1, 0) == 1) send(fd, &byte, 1, MSG_NOSIGNAL);
  }
}

[[noreturn]] void hold(const sockaddr_in& address, size_t connections) {
  for (size_t i = 0; i < connections; ++i) {
    const int fd = connected_socket(SOCK_STREAM, address, kName);
    char byte = 'x';
    if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1 || recv(fd, &byte, 1, 0) != 1) {
      fail(kName, "a connection was not answered");
    }
  }
  std::printf("connected\n");
  std::fflush(stdout);
  for (;;) pause();
}

void move_once(const Arguments& arguments, bool away, size_t connections, RoundTrips& times) {
  const auto pid = static_cast<pid_t>(arguments.count("pid", 0));
  const uint64_t before = now_ns();
  const auto moved = BrokerClient::relocate(arguments.text("iface"), away, pid);
  const uint64_t after = now_ns();
  if (!moved) fail(kName, away ? "leaving" : "coming back", moved.error());
  if (moved->connections.moved != connections || moved->connections.left != 0) {
    fail(kName, "not every connection was moved");
  }
  // Of which print() shows the half.
  times.record(2 * (after - before) / connections);
  usleep(kRestUs);
}

void drive(const Arguments& arguments, size_t connections) {
  RoundTrips out(kMaxSamples);
  RoundTrips in(kMaxSamples);
  const uint64_t end = now_ns() + static_cast<uint64_t>(arguments.number("seconds", 1) * kNsPerS);
  while (now_ns() < end && !out.full()) {
    move_once(arguments, true, connections, out);
    move_once(arguments, false, connections, in);
  }
  out.print(0);
  in.print(0);
}

int run(const Arguments& arguments) {
  if (arguments.words.size() != 1) fail(kName, "usage: move server|client|drive OPTIONS");
  const size_t connections = arguments.count("connections", 1);
  if (arguments.words[0] == "server") serve(address_of(arguments, kName));
  if (arguments.words[0] == "client") hold(address_of(arguments, kName), connections);
  drive(arguments, connections);
  return 0;
}

}  // namespace
}  // namespace underpass::bench

int main(int argc, char** argv) {
  using namespace underpass::bench;
  return run(
      Arguments(argc, argv, kName, {"address", "port", "iface", "pid", "connections", "seconds"}));
}
