// class_ping_pong.cpp - ping_pong.cpp on the Socket class: the process bypasses the kernel itself
//
//   class_ping_pong server tcp|udp --iface=I --port=N [--bytes=64]
//   class_ping_pong client tcp|udp --iface=I --address=A --port=N [--bytes=64] [--seconds=1]
//   [--warm-up=0.1]
//
// The server serves one connection after another; it is to be killed.
#include <netinet/tcp.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "stack/socket.h"
#include "tools/bench/arguments.h"
#include "tools/bench/round_trips.h"

namespace underpass::bench {
namespace {

constexpr const char* kName = "class_ping_pong";
// 2 us a round trip for a minute; nothing here is as fast.
constexpr size_t kMaxSamples = 4'000'000;
// A datagram that has not come back by then is counted as lost.
constexpr int64_t kLostAfterMs = 200;

[[noreturn]] void serve_tcp(Socket& listener, std::vector<char>& data) {
  for (;;) {
    Socket socket = listener.accept().first;
    socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1);
    while (socket.recv_into(data) == data.size()) socket.sendall(data);
  }
}

[[noreturn]] void serve_udp(Socket& socket, std::vector<char>& data) {
  for (;;) {
    const auto [got, from] = socket.recvfrom_into(data);
    socket.sendto({data.data(), got}, from);
  }
}

[[noreturn]] void serve(Socket& socket, int type, int port, std::vector<char>& data) {
  socket.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1);
  socket.bind(port);
  if (type == SOCK_DGRAM) serve_udp(socket, data);
  constexpr int kBacklog = 16;
  socket.listen(kBacklog);
  serve_tcp(socket, data);
}

// Returns whether the answer to `number` came; an older answer is dropped.
bool round_trip(Socket& socket, std::vector<char>& data, uint64_t number) {
  std::memcpy(data.data(), &number, sizeof number);
  socket.sendall(data);
  for (;;) {
    try {
      if (socket.recv_into(data) != data.size()) return false;
    } catch (const Timeout&) {
      return false;
    }
    uint64_t answer = 0;
    std::memcpy(&answer, data.data(), sizeof answer);
    if (answer == number) return true;
  }
}

void measure(Socket& socket, bool is_stream, std::vector<char>& data, double warm_up_s,
             double seconds) {
  RoundTrips trips(kMaxSamples);
  const uint64_t start = now_ns();
  const uint64_t first = start + static_cast<uint64_t>(warm_up_s * 1e9);
  const uint64_t end = first + static_cast<uint64_t>(seconds * 1e9);
  uint64_t lost = 0;
  uint64_t before = start;
  for (uint64_t number = 1; before < end && !trips.full(); number++) {
    const bool came = round_trip(socket, data, number);
    if (!came && is_stream) fail(kName, "the server closed the connection");
    const uint64_t after = now_ns();
    if (!came) lost++;
    if (came && before >= first) trips.record(after - before);
    before = after;
  }
  trips.print(lost);
}

int run(const Arguments& arguments) {
  if (arguments.words.size() != 2) {
    fail(kName, "usage: class_ping_pong server|client tcp|udp OPTIONS");
  }
  std::vector<char> data(arguments.count("bytes", 64));
  if (data.size() < sizeof(uint64_t)) fail(kName, "--bytes= must be at least 8");
  const int type = arguments.words[1] == "tcp" ? SOCK_STREAM : SOCK_DGRAM;
  const auto port = static_cast<int>(arguments.count("port", 0));
  const Interface interface(arguments.text("iface"));
  Socket socket(AF_INET, type);
  if (arguments.words[0] == "server") serve(socket, type, port, data);
  socket.connect({arguments.text("address"), port});
  if (type == SOCK_STREAM) socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1);
  if (type == SOCK_DGRAM) socket.settimeout(kLostAfterMs);
  measure(socket, type == SOCK_STREAM, data, arguments.number("warm-up", 0.1),
          arguments.number("seconds", 1));
  return 0;
}

}  // namespace
}  // namespace underpass::bench

int main(int argc, char** argv) {
  using namespace underpass::bench;
  try {
    return run(
        Arguments(argc, argv, kName, {"iface", "address", "port", "bytes", "seconds", "warm-up"}));
  } catch (const underpass::IOError& error) {
    fail(kName, error.what());
  }
}
