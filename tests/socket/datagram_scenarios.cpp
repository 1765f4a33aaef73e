// datagram_scenarios.cpp - UDP
#include <array>

#include "tests/socket/scenario.h"

namespace underpass::test {

namespace {

constexpr int kShortMs = 60;

Socket datagram_socket() { return Socket(AF_INET, SOCK_DGRAM); }

}  // namespace

namespace scenarios {

void default_protocol_is_udp(const Run& run) {
  Socket socket = datagram_socket();
  run.transcript.note("SO_PROTOCOL = " +
                      std::to_string(socket.getsockopt(SOL_SOCKET, SO_PROTOCOL)));
}

void sendto_and_recvfrom(const Run& run) {
  Socket socket = datagram_socket();
  run.transcript.result("sendto", [&] { return std::to_string(socket.sendto("one", run.echo())); });
  run.transcript.result("recvfrom", [&] {
    auto [data, from] = socket.recvfrom(100);
    // To where it came from, as it came.
    socket.sendto("two", from);
    return shown(data) + " from " + run.transcript.named(from);
  });
  std::array<char, 50> room{};
  run.transcript.result("recvfrom_into", [&] {
    auto [bytes, from] = socket.recvfrom_into(room);
    return shown({room.data(), bytes}) + " from " + run.transcript.named(from);
  });
}

void udp_addresses_in_every_form(const Run& run) {
  const auto [a, b, c, d] = ip_to_tuple(run.setting.peer);
  Socket socket = datagram_socket();
  socket.sendto("1", {run.setting.peer, kEchoPort});
  run.transcript.result("{string, port}", [&] { return shown(socket.recv(9)); });
  socket.sendto("2", {a, b, c, d, kEchoPort});
  run.transcript.result("{a, b, c, d, port}", [&] { return shown(socket.recv(9)); });
  run.transcript.outcome("port 0", [&] { socket.sendto("3", run.setting.peer); });
}

void one_datagram_at_a_time(const Run& run) {
  Socket socket = datagram_socket();
  socket.connect(run.echo());
  for (const char* text : {"first", "second", ""}) {
    run.transcript.result("send", [&] { return std::to_string(socket.send(text)); });
    run.transcript.result("recv", [&] { return shown(socket.recv(100)); });
  }
  socket.sendall("longer than the room");
  run.transcript.result("recv 6", [&] { return shown(socket.recv(6)); });
  socket.send("again");
  run.transcript.result("recv, the next", [&] { return shown(socket.recv(100)); });
}

void truncation_can_be_seen(const Run& run) {
  Socket socket = datagram_socket();
  socket.connect(run.echo());
  char room[4];
  socket.send("longer");
  run.transcript.result("recv_into, MSG_TRUNC",
                        [&] { return std::to_string(socket.recv_into(room, -1, MSG_TRUNC)); });
  socket.send("longer");
  run.transcript.result("recv, MSG_TRUNC", [&] { return shown(socket.recv(4, MSG_TRUNC)); });
}

void connected_socket_ignores_others(const Run& run) {
  Socket socket = datagram_socket();
  socket.connect(run.echo());
  Socket control = run.scripted("tell " + std::to_string(socket.getsockname().port()) + " spam");
  run.transcript.result("control", [&] { return control.recv(4); });
  socket.settimeout(kShortMs);
  run.transcript.outcome("recv", [&] { socket.recv(100); });
  socket.send("mine");
  run.transcript.result("recv", [&] { return shown(socket.recv(100)); });
}

void bound_socket_receives_from_anyone(const Run& run) {
  Socket socket = datagram_socket();
  socket.bind(0);
  const std::string port = std::to_string(socket.getsockname().port());
  for (const char* text : {"one", "two"}) {
    Socket control = run.scripted("tell " + port + " " + text);
    run.transcript.result("recvfrom", [&] {
      auto [data, from] = socket.recvfrom(100);
      return shown(data) + " from " + run.transcript.named(from);
    });
  }
  socket.sendto("three", run.echo());
  run.transcript.result("recv", [&] { return shown(socket.recv(100)); });
}

void socket_bound_to_an_address_receives(const Run& run) {
  Socket socket = datagram_socket();
  socket.bind({run.setting.own, 0});
  Socket control = run.scripted("tell " + std::to_string(socket.getsockname().port()) + " there");
  run.transcript.result("recv", [&] { return shown(socket.recv(100)); });
}

void bound_socket_receives_over_loopback(const Run& run) {
  Socket socket = datagram_socket();
  socket.bind(0);
  Socket other = datagram_socket();
  other.sendto("from here", {Setting::kLoopback, socket.getsockname().port()});
  run.transcript.result("recvfrom", [&] {
    auto [data, from] = socket.recvfrom(100);
    return shown(data) + (from.host() == Setting::kLoopback ? " over loopback" : " from elsewhere");
  });
}

void udp_time_limit(const Run& run) {
  Socket socket = datagram_socket();
  socket.bind(0);
  socket.settimeout(kShortMs);
  run.transcript.outcome("recvfrom", [&] { socket.recvfrom(10); });
  socket.settimeout(0);
  run.transcript.outcome("recvfrom, non-blocking", [&] { socket.recvfrom(10); });
}

void udp_refused(const Run& run) {
  Socket socket = datagram_socket();
  socket.connect(run.nobody());
  socket.send("x");
  run.transcript.outcome("recv", [&] { socket.recv(10); });
}

void udp_too_long(const Run& run) {
  Socket socket = datagram_socket();
  const std::string much(70000, 'x');
  run.transcript.outcome("sendto", [&] { socket.sendto(much, run.echo()); });
  run.transcript.outcome("send, not connected", [&] { socket.send("x"); });
}

void udp_fragmented(const Run& run) {
  Socket socket = datagram_socket();
  socket.connect(run.echo());
  socket.send(pattern(9000));
  run.transcript.result("recv", [&] { return shown(socket.recv(65536)); });
}

}  // namespace scenarios
}  // namespace underpass::test
