// input_scenarios.cpp - what is wrong at sight: a sentence that names it, and no descriptor lost
#include <sys/mman.h>

#include <climits>
#include <cstring>

#include "tests/socket/scenario.h"

namespace underpass::test {

namespace {}  // namespace

namespace scenarios {

void ip_to_tuple_reads_four_numbers(const Run& run) {
  for (const char* text :
       {"192.168.1.10", "0.0.0.0", "255.255.255.255", "300.1.2.3", "1.2.3", "1.2.3.4.5", "",
        " 1.2.3.4", "1.2.3.4 ", "01.2.3.4", "-1.2.3.4", "a.b.c.d", "1..2.3", "::1", "localhost"}) {
    run.transcript.sentence(std::string("ip_to_tuple ") + text, [&] {
      const auto [a, b, c, d] = ip_to_tuple(text);
      run.transcript.note(std::to_string(a) + " " + std::to_string(b) + " " + std::to_string(c) +
                          " " + std::to_string(d));
    });
  }
  run.transcript.outcome("a zero byte inside",
                         [] { ip_to_tuple(std::string_view("1.2.3.4\0.5", 10)); });
}

void addresses_that_are_none(const Run& run) {
  Socket socket;
  for (const char* text : {"300.1.2.3", "1.2.3", "localhost", "::1", "can0"}) {
    run.transcript.sentence(std::string("connect ") + text, [&] { socket.connect({text, 80}); });
    run.transcript.sentence(std::string("bind ") + text, [&] { socket.bind(text); });
  }
  run.transcript.sentence("empty", [&] { socket.connect(""); });
  run.transcript.sentence("empty, port", [&] { socket.connect({"", 80}); });
  run.transcript.sentence("nobody's", [&] { socket.connect(Address()); });
  const char* null = nullptr;
  run.transcript.sentence("null", [&] { socket.connect(null); });
  Socket six(AF_INET6);
  for (const char* text : {"192.168.1.10", "fe80::1%nonesuch", "1::2::3", "%lo", "::1%"}) {
    run.transcript.sentence(std::string("IPv6 connect ") + text, [&] { six.connect({text, 80}); });
  }
}

void numbers_out_of_range(const Run& run) {
  run.transcript.sentence("port 65536", [] { Socket().connect({"127.0.0.1", 65536}); });
  run.transcript.sentence("port -1", [] { Socket().connect({"127.0.0.1", -1}); });
  run.transcript.sentence("port of a tuple", [] { Socket().connect({127, 0, 0, 1, 70000}); });
  run.transcript.sentence("bare port", [] { Socket().bind(65536); });
  run.transcript.sentence("bare port below 0", [] { Socket().bind(-80); });
  run.transcript.sentence("2^32 + 80", [] { Socket().bind((1LL << 32) + 80); });
  run.transcript.sentence("2^64 - 1", [] { Socket().bind(UINT64_MAX); });
  run.transcript.sentence("300.1.2.3", [] { Socket().connect({300, 1, 2, 3, 80}); });
  run.transcript.sentence("-1.1.2.3", [] { Socket().connect(std::make_tuple(-1, 1, 2, 3)); });
}

void sizes_out_of_range(const Run& run) {
  Socket socket(AF_INET, SOCK_DGRAM);
  constexpr std::int64_t kTwoGiB = 1LL << 31;
  char room[10];
  for (const std::int64_t size :
       {std::int64_t{0}, std::int64_t{-1}, kTwoGiB, INT64_MAX, INT64_MIN}) {
    run.transcript.sentence("recv", [&] { socket.recv(size); });
    run.transcript.sentence("recvfrom", [&] { socket.recvfrom(size); });
  }
  for (const std::int64_t size : {std::int64_t{0}, std::int64_t{11}, kTwoGiB}) {
    run.transcript.sentence("recv_into", [&] { socket.recv_into(room, size); });
    run.transcript.sentence("recvfrom_into", [&] { socket.recvfrom_into(room, size); });
  }
  run.transcript.sentence("no room", [&] { socket.recv_into({room, 0}); });
  // Address space only: nothing of it is touched.
  void* const much =
      ::mmap(nullptr, kTwoGiB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  const auto bytes = static_cast<size_t>(kTwoGiB);
  run.transcript.sentence("2 GiB of room", [&] { socket.recv_into({much, bytes}); });
  run.transcript.outcome("2 GiB in a datagram", [&] { socket.sendto({much, bytes}, run.echo()); });
  ::munmap(much, bytes);
}

void flags_that_are_none(const Run& run) {
  Socket socket(AF_INET, SOCK_DGRAM);
  char room[10];
  for (const int flags : {0x8000000, -1, INT_MIN, static_cast<int>(MSG_NOSIGNAL)}) {
    run.transcript.sentence("recv", [&] { socket.recv(1, flags); });
    run.transcript.sentence("recv_into", [&] { socket.recv_into(room, -1, flags); });
    run.transcript.sentence("recvfrom", [&] { socket.recvfrom(1, flags); });
    run.transcript.sentence("recvfrom_into", [&] { socket.recvfrom_into(room, -1, flags); });
  }
  for (const int flags : {0x8000000, -1, static_cast<int>(MSG_PEEK)}) {
    run.transcript.sentence("send", [&] { socket.send("x", flags); });
    run.transcript.sentence("sendall", [&] { socket.sendall("x", flags); });
    run.transcript.sentence("sendto", [&] { socket.sendto("x", run.echo(), flags); });
  }
  run.transcript.sentence("shutdown", [&] { socket.shutdown(7); });
}

void buffers_of_nobody(const Run& run) {
  Socket socket(AF_INET, SOCK_DGRAM);
  socket.connect(run.echo());
  run.transcript.outcome("send of null", [&] { socket.send({nullptr, 5}); });
  run.transcript.outcome("send of nothing", [&] { socket.send({nullptr, 0}); });
  run.transcript.result("recv", [&] { return shown(socket.recv(10)); });
}

void interface_that_is_none(const Run& run) {
  run.transcript.sentence("no such interface", [] { Interface("nonesuch"); });
  run.transcript.sentence("empty", [] { Interface(""); });
  run.transcript.sentence("too long", [] { Interface(std::string(300, 'x')); });
}

}  // namespace scenarios
}  // namespace underpass::test
