// stream.cpp - bulk TCP one way over plain sockets; the receiver counts
//
//   stream server --port=N [--seconds=1] [--warm-up=0.2]
//   stream client --address=A --port=N [--seconds=1] [--warm-up=0.2]
//
// The client sends for as long as the server measures, and a little longer. The server prints what
// its program received between the end of the warm-up and the end of the measurement.
#include <cstdint>
#include <cstdio>
#include <vector>

#include "tools/bench/arguments.h"
#include "tools/bench/round_trips.h"
#include "tools/bench/sockets.h"

namespace underpass::bench {
namespace {

constexpr const char* kName = "stream";
// iperf3's default.
constexpr size_t kBlockBytes = 128 << 10;
constexpr double kMarginSeconds = 0.1;

struct Window {
  uint64_t warm_up_ns;
  uint64_t measured_ns;
};

Window window_of(const Arguments& arguments) {
  return {static_cast<uint64_t>(arguments.number("warm-up", 0.2) * 1e9),
          static_cast<uint64_t>(arguments.number("seconds", 1) * 1e9)};
}

// The clock starts with the first byte. Reads on to the end, so that the client is not reset.
void receive_all(int fd, const Window& window) {
  std::vector<char> block(kBlockBytes);
  uint64_t bytes = 0;
  uint64_t begin = 0;
  uint64_t end = 0;
  uint64_t last = 0;
  for (;;) {
    const ssize_t got = recv(fd, block.data(), block.size(), 0);
    if (got < 0) fail(kName, "recv", errno);
    if (got == 0) break;
    const uint64_t now = now_ns();
    if (begin == 0) {
      begin = last = now + window.warm_up_ns;
      end = begin + window.measured_ns;
    }
    if (now < begin || now > end) continue;
    bytes += static_cast<uint64_t>(got);
    last = now;
  }
  if (last <= begin) fail(kName, "nothing came during the measurement");
  std::printf("{\"bytes\": %llu, \"seconds\": %g}\n", static_cast<unsigned long long>(bytes),
              static_cast<double>(window.measured_ns) / 1e9);
}

void send_all(int fd, const Window& window) {
  const std::vector<char> block(kBlockBytes, 'x');
  const auto margin_ns = static_cast<uint64_t>(kMarginSeconds * 1e9);
  const uint64_t end = now_ns() + window.warm_up_ns + window.measured_ns + margin_ns;
  while (now_ns() < end) {
    if (send(fd, block.data(), block.size(), MSG_NOSIGNAL) < 0) fail(kName, "send", errno);
  }
}

int run(const Arguments& arguments) {
  if (arguments.words.size() != 1) fail(kName, "usage: stream server|client OPTIONS");
  const sockaddr_in address = address_of(arguments, kName);
  const Window window = window_of(arguments);
  if (arguments.words[0] == "server") {
    const int listener = server_socket(SOCK_STREAM, address, kName);
    receive_all(checked(accept(listener, nullptr, nullptr), kName, "accept"), window);
  } else {
    send_all(connected_socket(SOCK_STREAM, address, kName), window);
  }
  return 0;
}

}  // namespace
}  // namespace underpass::bench

int main(int argc, char** argv) {
  using namespace underpass::bench;
  return run(Arguments(argc, argv, kName, {"address", "port", "seconds", "warm-up"}));
}
