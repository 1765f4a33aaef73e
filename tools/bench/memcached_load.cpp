// memcached_load.cpp - asks a memcached for one value over many connections; counts the answers
//
//   memcached_load --address=A --port=N [--connections=20] [--seconds=1] [--warm-up=0.1]
//
// Debian has no load generator for memcached outside libmemcached-tools. One thread, epoll, one
// request in flight on each connection, a value of 64 bytes. Plain sockets: may be preloaded.
#include <sys/epoll.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "tools/bench/arguments.h"
#include "tools/bench/round_trips.h"
#include "tools/bench/sockets.h"

namespace underpass::bench {
namespace {

constexpr const char* kName = "memcached_load";
constexpr int kMaxEvents = 64;
const std::string kValue(64, 'v');
const std::string kSet = "set key 0 0 64\r\n" + kValue + "\r\n";
const std::string kGet = "get key\r\n";
const std::string kAnswer = "VALUE key 0 64\r\n" + kValue + "\r\nEND\r\n";

void send_request(int fd, const std::string& request) {
  const ssize_t put = send(fd, request.data(), request.size(), MSG_NOSIGNAL);
  if (put != static_cast<ssize_t>(request.size())) fail(kName, "send", errno);
}

struct Connection {
  int fd;
  std::string answer;

  // Reads what there is; true when the answer is whole (and as it should be).
  bool answered() {
    char data[512];
    const ssize_t got = recv(fd, data, sizeof data, 0);
    if (got <= 0) fail(kName, "memcached closed the connection", got < 0 ? errno : 0);
    answer.append(data, static_cast<size_t>(got));
    if (answer.size() < kAnswer.size()) return false;
    if (answer != kAnswer) fail(kName, "memcached answered something else");
    answer.clear();
    return true;
  }
};

void store_value(int fd) {
  const std::string stored = "STORED\r\n";
  send_request(fd, kSet);
  std::string answer;
  while (answer.size() < stored.size()) {
    char data[64];
    const ssize_t got = recv(fd, data, sizeof data, 0);
    if (got <= 0) fail(kName, "memcached closed the connection", got < 0 ? errno : 0);
    answer.append(data, static_cast<size_t>(got));
  }
  if (answer != stored) fail(kName, "memcached did not store the value");
}

std::vector<Connection> connect_all(const sockaddr_in& address, size_t count, int epoll) {
  std::vector<Connection> connections;
  for (size_t i = 0; i < count; i++) {
    connections.push_back({connected_socket(SOCK_STREAM, address, kName), ""});
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = i;
    checked(epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &event), kName, "epoll_ctl");
  }
  return connections;
}

// Answers between the end of the warm-up and the end.
uint64_t count_answers(std::vector<Connection>& connections, int epoll, double warm_up_s,
                       double seconds) {
  const uint64_t first = now_ns() + static_cast<uint64_t>(warm_up_s * 1e9);
  const uint64_t end = first + static_cast<uint64_t>(seconds * 1e9);
  uint64_t answers = 0;
  for (const Connection& one : connections) send_request(one.fd, kGet);
  for (uint64_t now = 0; now < end; now = now_ns()) {
    epoll_event events[kMaxEvents];
    const int count = checked(epoll_wait(epoll, events, kMaxEvents, 1000), kName, "epoll_wait");
    if (count == 0) fail(kName, "memcached has not answered for a second");
    for (int i = 0; i < count; i++) {
      Connection& one = connections[events[i].data.u64];
      if (!one.answered()) continue;
      if (now >= first) answers++;
      send_request(one.fd, kGet);
    }
  }
  return answers;
}

int run(const Arguments& arguments) {
  const double seconds = arguments.number("seconds", 1);
  const int epoll = checked(epoll_create1(0), kName, "epoll_create1");
  auto connections =
      connect_all(address_of(arguments, kName), arguments.count("connections", 20), epoll);
  if (connections.empty()) fail(kName, "--connections= must be at least 1");
  store_value(connections[0].fd);
  const uint64_t answers =
      count_answers(connections, epoll, arguments.number("warm-up", 0.1), seconds);
  std::printf("{\"answers\": %llu, \"seconds\": %g}\n", static_cast<unsigned long long>(answers),
              seconds);
  return 0;
}

}  // namespace
}  // namespace underpass::bench

int main(int argc, char** argv) {
  using namespace underpass::bench;
  return run(
      Arguments(argc, argv, kName, {"address", "port", "connections", "seconds", "warm-up"}));
}
