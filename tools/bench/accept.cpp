// accept.cpp - short connections, one after the other, to a server of one or several processes
//
//   accept server --port=N [--members=1]
//   accept client --address=A --port=N [--seconds=1] [--warm-up=0.1]
//
// Each connection is opened, sends a byte, gets it back and is closed by the client. The members
// have the listener of their parent, which does not accept itself. The server is to be killed.
#include <sys/prctl.h>

#include <csignal>
#include <cstdint>

#include "tools/bench/arguments.h"
#include "tools/bench/round_trips.h"
#include "tools/bench/sockets.h"

namespace underpass::bench {
namespace {

constexpr const char* kName = "accept";
constexpr size_t kMaxSamples = 1'000'000;

[[noreturn]] void serve(int listener) {
  for (;;) {
    const int fd = checked(accept(listener, nullptr, nullptr), kName, "accept");
    char byte = 0;
    while (recv(fd, &byte, 1, 0) == 1) send(fd, &byte, 1, MSG_NOSIGNAL);
    close(fd);
  }
}

[[noreturn]] void serve_with(int listener, size_t members) {
  if (members == 1) serve(listener);
  for (size_t i = 0; i < members; ++i) {
    if (checked(fork(), kName, "fork") != 0) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    serve(listener);
  }
  for (;;) pause();
}

void one_connection(const sockaddr_in& address) {
  const int fd = connected_socket(SOCK_STREAM, address, kName);
  char byte = 'x';
  if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1 || recv(fd, &byte, 1, 0) != 1) {
    fail(kName, "a connection was not answered");
  }
  close(fd);
}

void measure(const sockaddr_in& address, double warm_up_s, double seconds) {
  RoundTrips trips(kMaxSamples);
  const uint64_t start = now_ns();
  const uint64_t first = start + static_cast<uint64_t>(warm_up_s * 1e9);
  const uint64_t end = first + static_cast<uint64_t>(seconds * 1e9);
  for (uint64_t before = start; before < end && !trips.full();) {
    one_connection(address);
    const uint64_t after = now_ns();
    // Of which print() shows the half.
    if (before >= first) trips.record(2 * (after - before));
    before = after;
  }
  trips.print(0);
}

int run(const Arguments& arguments) {
  if (arguments.words.size() != 1) fail(kName, "usage: accept server|client OPTIONS");
  const sockaddr_in address = address_of(arguments, kName);
  if (arguments.words[0] == "server") {
    serve_with(server_socket(SOCK_STREAM, address, kName), arguments.count("members", 1));
  }
  measure(address, arguments.number("warm-up", 0.1), arguments.number("seconds", 1));
  return 0;
}

}  // namespace
}  // namespace underpass::bench

int main(int argc, char** argv) {
  using namespace underpass::bench;
  return run(Arguments(argc, argv, kName, {"address", "port", "members", "seconds", "warm-up"}));
}
