// stream_scenarios.cpp - TCP: connect, send, recv, accept, time limits
#include <sys/time.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/socket/scenario.h"

namespace underpass::test {

namespace {

// Long enough that a peer which answers answers in time; short enough to be waited for.
constexpr int kShortMs = 60;
constexpr int kLongMs = 20000;

}  // namespace

namespace scenarios {

void hello_and_close(const Run& run) {
  Socket socket;
  run.transcript.outcome("connect", [&] { socket.connect(run.script()); });
  run.transcript.outcome("sendall", [&] { socket.sendall("echo\nHello World!"); });
  run.transcript.result("recv", [&] { return shown(socket.recv(12)); });
  run.transcript.note("getsockname = " + run.transcript.named(socket.getsockname()));
  run.transcript.note("getpeername = " + run.transcript.named(socket.getpeername()));
  socket.close();
  run.transcript.outcome("recv when closed", [&] { socket.recv(1); });
}

void addresses_in_every_form(const Run& run) {
  const auto [a, b, c, d] = ip_to_tuple(run.setting.peer);
  const int port = kScriptPort;
  auto reaches = [&](const char* name, const Address& address) {
    run.transcript.outcome(name, [&] { Socket().connect(address); });
  };
  reaches("{string, port}", {run.setting.peer, port});
  reaches("{a, b, c, d, port}", {a, b, c, d, port});
  reaches("tuple (string, port)", std::make_tuple(run.setting.peer, port));
  reaches("tuple (a, b, c, d, port)", std::make_tuple(a, b, c, d, port));
  reaches("pair (string, port)", std::make_pair(run.setting.peer.c_str(), port));
  run.transcript.note("string = " + run.transcript.named(Address(run.setting.peer)));
  run.transcript.note("tuple (a, b, c, d) = " +
                      run.transcript.named(Address(std::make_tuple(a, b, c, d))));
  // Nobody can be connected to at port 0.
  reaches("string, port 0", run.setting.peer);
  reaches("{a, b, c, d}, port 0", {a, b, c, d});
}

void closed_port_refuses(const Run& run) {
  Socket socket;
  run.transcript.outcome("connect", [&] { socket.connect(run.nobody()); });
  // As Linux allows: the socket may be used again.
  run.transcript.outcome("connect again", [&] { socket.connect(run.script()); });
}

void connected_twice(const Run& run) {
  Socket socket;
  socket.connect(run.script());
  run.transcript.outcome("connect again", [&] { socket.connect(run.script()); });
}

void recv_waits_for_all_bytes(const Run& run) {
  Socket socket = run.scripted("parts 3000 7000");
  run.transcript.result("recv", [&] { return shown(socket.recv(10000)); });
}

void recv_returns_what_there_is_when_the_peer_closes(const Run& run) {
  Socket socket = run.scripted("finish 700");
  run.transcript.result("recv 1000", [&] { return shown(socket.recv(1000)); });
  run.transcript.result("recv at the end", [&] { return shown(socket.recv(1000)); });
}

void recv_takes_no_more_than_asked(const Run& run) {
  Socket socket = run.scripted("finish 1000");
  run.transcript.result("recv 300", [&] { return shown(socket.recv(300)); });
  run.transcript.result("recv 300, MSG_PEEK", [&] { return shown(socket.recv(300, MSG_PEEK)); });
  run.transcript.result("recv 700", [&] { return shown(socket.recv(700)); });
}

void recv_of_much(const Run& run) {
  Socket socket = run.scripted("finish 3000000");
  run.transcript.result("recv 2000000", [&] { return shown(socket.recv(2000000)); });
  run.transcript.result("recv the most", [&] { return shown(socket.recv(2147483647)); });
}

void recv_after_a_reset(const Run& run) {
  Socket socket = run.scripted("reset");
  run.transcript.outcome("recv", [&] { socket.recv(10); });
  run.transcript.result("recv again", [&] { return shown(socket.recv(10)); });
  run.transcript.outcome("send", [&] { socket.send("x"); });
}

void recv_into_a_buffer(const Run& run) {
  Socket socket = run.scripted("finish 2000");
  std::vector<uint8_t> room(600);
  auto into = [&](const char* name, auto& buffer, auto... more) {
    run.transcript.result(name, [&] {
      const size_t got = socket.recv_into(buffer, more...);
      return shown({reinterpret_cast<const char*>(std::data(buffer)), got});
    });
  };
  into("recv_into, all of it", room);
  into("recv_into, bufsize 100", room, 100);
  into("recv_into, bufsize -1", room, -1);
  std::array<char, 300> array{};
  into("recv_into an array", array);
  char plain[300];
  into("recv_into a C array", plain, -5);
  into("recv_into, the rest", room, 600);
  into("recv_into at the end", room);
  run.transcript.outcome("bufsize above the buffer", [&] { socket.recv_into(room, 601); });
}

void recvfrom_of_a_stream_waits_for_any_bytes(const Run& run) {
  Socket socket = run.scripted("parts 30 7");
  run.transcript.result("recvfrom", [&] {
    auto [data, from] = socket.recvfrom(1000);
    return shown(data) + " from " + run.transcript.named(from);
  });
  run.transcript.result("recv", [&] { return shown(socket.recv(7)); });
}

void send_says_how_much_went(const Run& run) {
  Socket socket = run.scripted("stall");
  const std::string much(40'000'000, 'x');
  run.transcript.note("a little: " + std::to_string(socket.send("little")));
  socket.settimeout(0);
  const size_t went = socket.send(much);
  run.transcript.note(went > 0 && went < much.size() ? "much: a part" : "much: all or nothing");
  run.transcript.outcome("until it is full", [&] {
    for (;;) socket.send(much);
  });
}

void sendall_sends_all(const Run& run) {
  Socket socket = run.scripted("sink");
  const std::string data = pattern(3000000);
  run.transcript.outcome("sendall", [&] { socket.sendall(data); });
  socket.shutdown(SHUT_WR);
  run.transcript.note("sent " + std::to_string(data.size()) + " " + std::to_string(digest(data)));
  run.transcript.result("recv", [&] { return socket.recv(100); });
}

void sendall_past_its_time_limit(const Run& run) {
  Socket socket = run.scripted("stall");
  socket.settimeout(kShortMs);
  const std::string much(40'000'000, 'x');
  run.transcript.outcome("sendall", [&] { socket.sendall(much); });
}

void send_to_a_peer_that_has_gone(const Run& run) {
  Socket socket = run.scripted("finish 0");
  run.transcript.result("recv", [&] { return shown(socket.recv(1)); });
  run.transcript.outcome("first send", [&] { socket.sendall("x"); });
  // Its reset is here when recv says so.
  socket.settimeout(kLongMs);
  run.transcript.outcome("sendall", [&] {
    for (;;) socket.sendall("x");
  });
}

void send_of_every_buffer(const Run& run) {
  Socket socket = run.scripted("echo");
  const char literal_array[] = {'a', 'b'};
  char buffer[3] = {'c', '\0', 'd'};
  const std::vector<uint16_t> numbers = {0x6565, 0x6666};
  const char* pointer = "gg";
  socket.sendall("text");
  socket.sendall(std::string("string"));
  socket.sendall(std::string_view("view"));
  socket.sendall(literal_array);
  socket.sendall(buffer);
  socket.sendall(numbers);
  socket.sendall(pointer);
  socket.sendall({pointer, 1});
  socket.sendall("");
  run.transcript.result("recv", [&] {
    std::string all = socket.recv(26);
    for (char& byte : all) byte = byte == '\0' ? '0' : byte;
    return shown(all);
  });
}

void time_limit_of_recv(const Run& run) {
  Socket socket = run.scripted("echo");
  socket.settimeout(kShortMs);
  run.transcript.outcome("recv of nothing", [&] { socket.recv(10); });
  socket.sendall("12345");
  run.transcript.result("recv of some", [&] { return shown(socket.recv(10)); });
  socket.settimeout(none);
  socket.sendall("67890");
  run.transcript.result("recv without a limit", [&] { return shown(socket.recv(5)); });
}

void no_waiting_at_all(const Run& run) {
  Socket socket = run.scripted("echo");
  socket.settimeout(0);
  run.transcript.outcome("recv", [&] { socket.recv(10); });
  socket.settimeout(kLongMs);
  run.transcript.outcome("recv, MSG_DONTWAIT", [&] { socket.recv(10, MSG_DONTWAIT); });
  socket.sendall("abc");
  run.transcript.result("recv", [&] { return shown(socket.recv(3)); });
}

void time_limit_of_accept(const Run& run) {
  Socket listener;
  listener.bind(0);
  listener.listen();
  listener.settimeout(kShortMs);
  run.transcript.outcome("accept", [&] { listener.accept(); });
  listener.settimeout(0);
  run.transcript.outcome("accept, non-blocking", [&] { listener.accept(); });
}

void nonblocking_connect(const Run& run) {
  Socket socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
  run.transcript.outcome("connect", [&] { socket.connect(run.script()); });
  // A blocking send waits for the connection.
  socket.settimeout(kLongMs);
  run.transcript.outcome("sendall", [&] { socket.sendall("echo\nx"); });
  run.transcript.result("recv", [&] { return shown(socket.recv(1)); });
}

void server(const Run& run) {
  Socket listener;
  listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1);
  listener.bind(0);
  listener.listen();
  run.transcript.note("getsockname = " + run.transcript.named(listener.getsockname()));
  Socket control = run.scripted("call " + std::to_string(listener.getsockname().port()) + " 3");
  for (int i = 0; i < 3; ++i) {
    auto taken = listener.accept();
    Socket& socket = taken.first;
    run.transcript.note("accepted " + run.transcript.named(taken.second) + ", peer " +
                        run.transcript.named(socket.getpeername()) + ", own " +
                        run.transcript.named(socket.getsockname()));
    run.transcript.result("recv", [&] { return shown(socket.recv(7)); });
    socket.sendall("greetings");
  }
  run.transcript.result("control", [&] { return control.recv(6); });
}

void server_at_an_address(const Run& run) {
  Socket listener;
  run.transcript.outcome("bind", [&] { listener.bind({run.setting.own, 0}); });
  run.transcript.outcome("bind again", [&] { listener.bind({run.setting.own, 0}); });
  listener.listen(5);
  run.transcript.note("getsockname = " + run.transcript.named(listener.getsockname()));
  Socket control = run.scripted("call " + std::to_string(listener.getsockname().port()) + " 1");
  auto [socket, address] = listener.accept();
  run.transcript.note("accepted " + run.transcript.named(address));
  Socket second;
  run.transcript.outcome("bind to a port in use", [&] { second.bind(listener.getsockname()); });
}

void accepted_socket_has_the_listeners_limit(const Run& run) {
  Socket listener;
  listener.bind(0);
  listener.listen();
  listener.settimeout(kLongMs);
  Socket control = run.scripted("call " + std::to_string(listener.getsockname().port()) + " 1");
  Socket socket = listener.accept().first;
  const auto limit = socket.getsockopt<timeval>(SOL_SOCKET, SO_RCVTIMEO);
  run.transcript.note("SO_RCVTIMEO = " + std::to_string(limit.tv_sec) + " s");
}

void not_connected(const Run& run) {
  Socket socket;
  run.transcript.outcome("recv", [&] { socket.recv(1); });
  run.transcript.outcome("send", [&] { socket.send("x"); });
  run.transcript.outcome("getpeername", [&] { socket.getpeername(); });
  run.transcript.outcome("shutdown", [&] { socket.shutdown(SHUT_WR); });
  run.transcript.outcome("accept", [&] { socket.accept(); });
}

void several_threads_use_one_socket(const Run& run) {
  Socket socket = run.scripted("echo");
  constexpr size_t kBytes = 200000;
  std::string got;
  std::thread reader([&] { got = socket.recv(kBytes); });
  std::thread writer([&] { socket.sendall(pattern(kBytes)); });
  writer.join();
  reader.join();
  run.transcript.note("recv = " + shown(got));
}

void close_while_another_thread_waits(const Run& run) {
  Socket socket = run.scripted("parts 3 4");
  std::string got;
  std::atomic<bool> started{false};
  std::thread reader([&] {
    started = true;
    try {
      got = socket.recv(7);
    } catch (const IOError& error) {
      got = error.what();
    }
  });
  while (!started) std::this_thread::yield();
  // The rest comes later still.
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  socket.close();
  run.transcript.outcome("recv", [&] { socket.recv(1); });
  reader.join();
  run.transcript.note("the reader: " + shown(got));
}

void unread_data_resets(const Run& run) {
  Socket socket = run.scripted("send 1000");
  run.transcript.result("recv", [&] { return shown(socket.recv(10)); });
}

}  // namespace scenarios
}  // namespace underpass::test
