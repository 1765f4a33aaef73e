// socket_scenarios.cpp - what is neither TCP's nor UDP's alone: creation, descriptors, options,
// families
#include <dirent.h>
#include <fcntl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <thread>
#include <type_traits>

#include "tests/socket/scenario.h"

namespace underpass::test {

namespace {

size_t open_descriptors() {
  DIR* const directory = ::opendir("/proc/self/fd");
  size_t count = 0;
  while (::readdir(directory) != nullptr) ++count;
  ::closedir(directory);
  return count;
}

}  // namespace

namespace scenarios {

void constants(const Run& run) {
  run.transcript.note("families " + std::to_string(AF_INET) + " " + std::to_string(AF_INET6) + " " +
                      std::to_string(AF_CAN));
  run.transcript.note("types " + std::to_string(SOCK_STREAM) + " " + std::to_string(SOCK_DGRAM) +
                      " " + std::to_string(SOCK_RAW));
  run.transcript.note("options " + std::to_string(SOL_SOCKET) + " " + std::to_string(SO_RCVTIMEO) +
                      " " + std::to_string(SO_REUSEADDR));
}

void creation(const Run& run) {
  run.transcript.outcome("Socket()", [] { Socket(); });
  run.transcript.outcome("AF_INET, SOCK_DGRAM", [] { Socket(AF_INET, SOCK_DGRAM); });
  run.transcript.outcome("AF_INET6", [] { Socket(AF_INET6); });
  run.transcript.outcome("AF_INET, SOCK_DGRAM, IPPROTO_UDP",
                         [] { Socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP); });
  run.transcript.sentence("AF_UNIX", [] { Socket(AF_UNIX, SOCK_STREAM, 0); });
  run.transcript.sentence("SOCK_SEQPACKET", [] { Socket(AF_INET, SOCK_SEQPACKET); });
  run.transcript.sentence("SOCK_STREAM, IPPROTO_UDP",
                          [] { Socket(AF_INET, SOCK_STREAM, IPPROTO_UDP); });
}

void default_type_is_a_stream(const Run& run) {
  const Socket socket;
  run.transcript.note("SO_DOMAIN " + std::to_string(socket.getsockopt(SOL_SOCKET, SO_DOMAIN)) +
                      ", SO_TYPE " + std::to_string(socket.getsockopt(SOL_SOCKET, SO_TYPE)) +
                      ", SO_PROTOCOL " +
                      std::to_string(socket.getsockopt(SOL_SOCKET, SO_PROTOCOL)));
}

// The end of a connection keeps its port for a moment, under a number of its own.
bool closes_down_to(size_t count) {
  for (int i = 0; i < 5000 && open_descriptors() > count; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return open_descriptors() <= count;
}

void moved(const Run& run) {
  static_assert(!std::is_copy_constructible_v<Socket> && !std::is_copy_assignable_v<Socket>);
  static_assert(std::is_nothrow_move_constructible_v<Socket>);
  Socket socket = run.scripted("echo");
  Socket moved = std::move(socket);
  run.transcript.note("fileno of the old " + std::to_string(socket.fileno()));
  run.transcript.sentence("send of the old", [&] { socket.send("x"); });
  run.transcript.outcome("send of the new", [&] { moved.send("x"); });
  Socket other;
  other = std::move(moved);
  run.transcript.result("recv", [&] { return shown(other.recv(1)); });
}

void one_of_each_kind(const Run& run) {
  // The peer closes first: its end has the TIME_WAIT.
  Socket connection = run.scripted("finish 5");
  connection.recv(100);
  Socket listener;
  listener.bind(0);
  listener.listen();
  Socket control = run.scripted("call " + std::to_string(listener.getsockname().port()) + " 1");
  Socket accepted = listener.accept().first;
  accepted.recv(7);
  accepted.shutdown(SHUT_WR);
  Socket datagrams(AF_INET, SOCK_DGRAM);
  datagrams.sendto("x", run.echo());
  datagrams.recv(1);
  control.recv(100);
}

void everything_that_fails(const Run& run) {
  auto fails = [](auto operation) {
    try {
      operation();
    } catch (const IOError&) {
      return;
    }
    throw IOError(EPROTO, "it did not fail");
  };
  fails([&] { Socket().connect(run.nobody()); });
  fails([] { Socket().connect("300.1.2.3"); });
  fails([] { Socket(AF_UNIX); });
  fails([] { Socket().accept(); });
  fails([] { Socket(AF_INET, SOCK_DGRAM).send("x"); });
  fails([] { Interface("nonesuch"); });
}

void closes_itself(const Run& run) {
  one_of_each_kind(run);
  const size_t before = open_descriptors();
  for (int i = 0; i < 20; ++i) {
    one_of_each_kind(run);
    run.transcript.outcome("errors", [&] { everything_that_fails(run); });
  }
  run.transcript.note(closes_down_to(before + 1) ? "none is left open" : "some are left open");
}

void closed(const Run& run) {
  Socket socket(AF_INET, SOCK_DGRAM);
  run.transcript.note(socket.fileno() >= 0 ? "fileno" : "no fileno");
  const int number = socket.fileno();
  socket.close();
  socket.close();
  run.transcript.note("fileno = " + std::to_string(socket.fileno()));
  run.transcript.note(::fcntl(number, F_GETFD) == -1 ? "the number is free" : "still open");
  char room[1];
  const Address address{run.setting.peer, kEchoPort};
  run.transcript.sentence("bind", [&] { socket.bind(0); });
  run.transcript.sentence("bind, address", [&] { socket.bind(address); });
  run.transcript.sentence("listen", [&] { socket.listen(); });
  run.transcript.sentence("accept", [&] { socket.accept(); });
  run.transcript.sentence("connect", [&] { socket.connect(address); });
  run.transcript.sentence("shutdown", [&] { socket.shutdown(SHUT_RD); });
  run.transcript.sentence("getsockname", [&] { socket.getsockname(); });
  run.transcript.sentence("getpeername", [&] { socket.getpeername(); });
  run.transcript.sentence("recv", [&] { socket.recv(1); });
  run.transcript.sentence("recv_into", [&] { socket.recv_into(room); });
  run.transcript.sentence("recvfrom", [&] { socket.recvfrom(1); });
  run.transcript.sentence("recvfrom_into", [&] { socket.recvfrom_into(room); });
  run.transcript.sentence("send", [&] { socket.send("x"); });
  run.transcript.sentence("sendall", [&] { socket.sendall("x"); });
  run.transcript.sentence("sendto", [&] { socket.sendto("x", address); });
  run.transcript.sentence("settimeout", [&] { socket.settimeout(1); });
  run.transcript.sentence("setsockopt", [&] { socket.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1); });
  run.transcript.sentence("getsockopt", [&] { socket.getsockopt(SOL_SOCKET, SO_REUSEADDR); });
}

void adopts_a_descriptor(const Run& run) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return;
  {
    // What is given beside it is not looked at.
    Socket socket(AF_INET, SOCK_DGRAM, 0, pair[0]);
    run.transcript.note(socket.fileno() == pair[0] ? "fileno is the number" : "another number");
    run.transcript.outcome("sendall", [&] { socket.sendall("x"); });
    char got = 0;
    run.transcript.note("read = " + std::to_string(::read(pair[1], &got, 1)));
    // Its own type counts: a stream waits for all.
    run.transcript.note("write = " + std::to_string(::write(pair[1], "12", 2)));
    ::shutdown(pair[1], SHUT_WR);
    run.transcript.result("recv", [&] { return shown(socket.recv(5)); });
  }
  run.transcript.note(::fcntl(pair[0], F_GETFD) == -1 ? "closed" : "still open");
  ::close(pair[1]);
}

void adopts_a_connection(const Run& run) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  Socket listener;
  listener.bind({Setting::kLoopback, 0});
  listener.listen();
  sockaddr_storage storage;
  const socklen_t length = listener.getsockname().to_sockaddr(AF_INET, storage);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&storage), length) != 0) return;
  Socket socket(AF_INET, SOCK_STREAM, IPPROTO_TCP, fd);
  Socket other = listener.accept().first;
  socket.sendall("adopted");
  run.transcript.result("recv", [&] { return shown(other.recv(7)); });
}

void does_not_adopt(const Run& run) {
  const int file = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  run.transcript.outcome("a file", [&] { Socket(AF_INET, SOCK_STREAM, 0, file); });
  run.transcript.note(::close(file) == 0 ? "the file stays open" : "the file was closed");
  run.transcript.sentence("no descriptor", [] { Socket(AF_INET, SOCK_STREAM, 0, -1); });
}

void options(const Run& run) {
  Socket socket;
  run.transcript.note("SO_REUSEADDR " +
                      std::to_string(socket.getsockopt(SOL_SOCKET, SO_REUSEADDR)));
  socket.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1);
  run.transcript.note("SO_REUSEADDR " +
                      std::to_string(socket.getsockopt(SOL_SOCKET, SO_REUSEADDR)));
  socket.setsockopt(SOL_SOCKET, SO_RCVTIMEO, timeval{0, 40000});
  const auto limit = socket.getsockopt<timeval>(SOL_SOCKET, SO_RCVTIMEO);
  run.transcript.note("SO_RCVTIMEO " + std::to_string(limit.tv_usec));
  run.transcript.outcome("a value too short",
                         [&] { socket.setsockopt(SOL_SOCKET, SO_REUSEADDR, char{1}); });
  run.transcript.outcome("an option that is none", [&] { socket.setsockopt(SOL_SOCKET, 999, 1); });
  run.transcript.outcome("a level that is none", [&] { socket.getsockopt(999, 1); });
  socket.connect(run.script());
  socket.sendall("echo\n");
  run.transcript.outcome("recv with SO_RCVTIMEO", [&] { socket.recv(1); });
}

void time_limits(const Run& run) {
  Socket socket;
  run.transcript.sentence("settimeout(-1)", [&] { socket.settimeout(-1); });
  for (const std::optional<std::int64_t> limit_ms :
       {std::optional<std::int64_t>(1500), std::optional<std::int64_t>(0),
        std::optional<std::int64_t>(), std::optional<std::int64_t>(INT64_MAX)}) {
    run.transcript.outcome("settimeout", [&] { socket.settimeout(limit_ms); });
    const auto set = socket.getsockopt<timeval>(SOL_SOCKET, SO_SNDTIMEO);
    const int flags = ::fcntl(socket.fileno(), F_GETFL);
    run.transcript.note("SO_SNDTIMEO " + std::to_string(set.tv_sec) + " s " +
                        std::to_string(set.tv_usec) + " us" +
                        ((flags & O_NONBLOCK) != 0 ? ", non-blocking" : ""));
  }
}

void bare_port(const Run& run) {
  for (const int family : {AF_INET, AF_INET6}) {
    Socket socket(family);
    run.transcript.outcome("bind", [&] { socket.bind(0); });
    const Address name = socket.getsockname();
    run.transcript.note(name.host() + (name.port() != 0 ? " and a port" : " and none"));
    Socket second(family);
    run.transcript.outcome("bind to the same", [&] { second.bind(name.port()); });
  }
}

// What the child has inherited is not compared: docs/compatibility.md says what it is.
void fork_leaves_the_parent_its_sockets(const Run& run) {
  Socket socket = run.scripted("echo");
  int said[2];
  if (::pipe2(said, O_CLOEXEC) != 0) return;
  const pid_t child = ::fork();
  if (child == 0) {
    // Its own, and the parent's is closed when it ends.
    Transcript transcript(run.setting);
    transcript.result("the child's recv", [&] {
      Socket own = run.scripted("finish 7");
      return shown(own.recv(10));
    });
    socket.close();
    const std::string& lines = transcript.lines();
    const ssize_t written = ::write(said[1], lines.data(), lines.size());
    ::_exit(written > 0 ? 0 : 1);
  }
  ::close(said[1]);
  char lines[200];
  const ssize_t got = ::read(said[0], lines, sizeof lines);
  ::close(said[0]);
  int status = -1;
  ::waitpid(child, &status, 0);
  run.transcript.note(std::string(lines, got > 0 ? static_cast<size_t>(got) : 0) + "status " +
                      std::to_string(status));
  socket.sendall("parent");
  run.transcript.result("the parent's recv", [&] { return shown(socket.recv(6)); });
}

void ipv6(const Run& run) {
  Socket listener(AF_INET6);
  run.transcript.outcome("bind", [&] { listener.bind({"::1", 0}); });
  listener.listen();
  const Address name = listener.getsockname();
  run.transcript.note("getsockname = " + name.host());
  Socket socket(AF_INET6);
  run.transcript.outcome("connect", [&] { socket.connect(name); });
  auto taken = listener.accept();
  Socket& accepted = taken.first;
  run.transcript.note("accepted " + taken.second.host());
  socket.sendall("six");
  run.transcript.result("recv", [&] { return shown(accepted.recv(3)); });
  Socket datagrams(AF_INET6, SOCK_DGRAM);
  datagrams.bind(0);
  Socket sender(AF_INET6, SOCK_DGRAM);
  sender.sendto("seven", std::make_tuple("::1", datagrams.getsockname().port()));
  run.transcript.result("recvfrom", [&] {
    auto [data, sender_address] = datagrams.recvfrom(10);
    return shown(data) + " from " + sender_address.host();
  });
}

void ipv6_over_the_interface(const Run& run) {
  const std::string& peer = run.setting.peer6;
  Socket socket(AF_INET6);
  run.transcript.outcome("connect", [&] { socket.connect({peer, kEcho6Port}); });
  const Address to = socket.getpeername();
  run.transcript.note(to == Address(peer, kEcho6Port) ? "to the peer" : "to " + to.to_string());
  socket.sendall("six");
  run.transcript.result("recv", [&] { return shown(socket.recv(3)); });
  socket.setsockopt(IPPROTO_IPV6, IPV6_UNICAST_HOPS, 3);
  const int hops = socket.getsockopt<int>(IPPROTO_IPV6, IPV6_UNICAST_HOPS);
  run.transcript.note("hops " + std::to_string(hops));
}

void ipv6_datagrams(const Run& run) {
  const Address peer(run.setting.peer6, kEcho6Port);
  Socket socket(AF_INET6, SOCK_DGRAM);
  socket.settimeout(5000);
  socket.sendto("six", peer);
  run.transcript.result("recvfrom", [&] {
    auto [data, from] = socket.recvfrom(10);
    return shown(data) + (from == peer ? " from the peer" : " from elsewhere");
  });
  socket.connect(peer);
  socket.send("seven");
  run.transcript.result("recv", [&] { return shown(socket.recv(10)); });
}

void both_families(const Run& run) {
  Socket listener(AF_INET6);
  listener.bind(0);
  listener.listen();
  const std::string port = std::to_string(listener.getsockname().port());
  const Socket control = run.scripted("call " + port + " 1");
  auto taken = listener.accept();
  Socket& accepted = taken.first;
  const bool mapped = taken.second.host() == "::ffff:" + run.setting.peer;
  run.transcript.note(mapped ? "from the peer, over IPv4" : "from " + taken.second.host());
  run.transcript.result("recv", [&] { return shown(accepted.recv(5)); });
}

void ipv6_scope(const Run& run) {
  sockaddr_storage storage;
  const Address address("fe80::1%lo", 80);
  const socklen_t length = address.to_sockaddr(AF_INET6, storage);
  run.transcript.note(Address::from_sockaddr(storage, length).to_string());
  Address("fe80::1%1").to_sockaddr(AF_INET6, storage);
  run.transcript.note(Address::from_sockaddr(storage, length).to_string());
}

// This kernel may have no CAN: it says so then.
void can_is_the_kernels(const Run& run) {
  run.transcript.sentence("CAN_RAW", [] {
    Socket socket(AF_CAN, SOCK_RAW);
    socket.bind("can-none");
  });
}

}  // namespace scenarios
}  // namespace underpass::test
