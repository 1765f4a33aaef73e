// raw_scenarios.cpp - SOCK_RAW: protocols steered by their number, and those that are the kernel's
//
// The peer sends each packet of kEchoProtocol back, with its bytes in capitals.
#include <arpa/inet.h>
#include <netinet/ip.h>

#include <cctype>
#include <cstring>

#include "tests/socket/scenario.h"

namespace underpass::test {

namespace {

constexpr int kEchoProtocol = 253;  // RFC 3692: for experiments
constexpr int kOtherProtocol = 254;
constexpr int kShortMs = 60;

Socket raw_socket(int protocol = kEchoProtocol) { return Socket(AF_INET, SOCK_RAW, protocol); }

iphdr header_of(const std::string& packet) {
  iphdr header{};
  std::memcpy(&header, packet.data(), sizeof header);
  return header;
}

// "IPv4, 20 bytes of header, 24 in all, protocol 253, from peer to mine: 'DATA'"
std::string described(const Run& run, const std::string& packet) {
  if (packet.size() < sizeof(iphdr)) return "too short: " + shown(packet);
  const iphdr header = header_of(packet);
  auto name = [&](uint32_t ip) {
    char text[INET_ADDRSTRLEN];
    return run.transcript.named(Address(inet_ntop(AF_INET, &ip, text, sizeof text)));
  };
  return "IPv" + std::to_string(header.version) + ", " + std::to_string(header.ihl * 4) +
         " bytes of header, " + std::to_string(ntohs(header.tot_len)) + " in all, protocol " +
         std::to_string(header.protocol) + ", ttl " + std::to_string(header.ttl) + ", from " +
         name(header.saddr) + " to " + name(header.daddr) + ": " +
         shown(packet.substr(header.ihl * 4U));
}

}  // namespace

namespace scenarios {

void raw_datagrams_begin_with_the_ip_header(const Run& run) {
  Socket socket = raw_socket();
  run.transcript.result("sendto",
                        [&] { return std::to_string(socket.sendto("data", run.setting.peer)); });
  run.transcript.result("recvfrom", [&] {
    auto [packet, from] = socket.recvfrom(2000);
    return described(run, packet) + ", from " + run.transcript.named(from);
  });
  // Ports mean nothing.
  socket.sendto("more", {run.setting.peer, 4711});
  run.transcript.result("recv", [&] { return described(run, socket.recv(2000)); });
  char room[22];
  socket.sendto("cut off", run.setting.peer);
  run.transcript.result("recv_into",
                        [&] { return std::to_string(socket.recv_into(room, -1, MSG_TRUNC)); });
}

void raw_socket_is_connected(const Run& run) {
  Socket socket = raw_socket();
  socket.connect(run.setting.peer);
  // Without a port there is no peer (inet_getname() in net/ipv4/af_inet.c).
  run.transcript.outcome("getpeername", [&] { socket.getpeername(); });
  run.transcript.note("getsockname = " + run.transcript.named(socket.getsockname()));
  socket.send("connected");
  run.transcript.result("recv", [&] { return described(run, socket.recv(2000)); });
}

void raw_socket_is_bound(const Run& run) {
  Socket socket = raw_socket();
  socket.bind(run.setting.own);
  socket.sendto("bound", run.setting.peer);
  run.transcript.result("recv", [&] { return described(run, socket.recv(2000)); });
}

void raw_sockets_have_a_copy_each(const Run& run) {
  Socket one = raw_socket();
  Socket two = raw_socket();
  Socket elsewhere = raw_socket();
  elsewhere.connect(Setting::kLoopback);
  Socket other = raw_socket(kOtherProtocol);
  one.sendto("twice", run.setting.peer);
  run.transcript.result("one", [&] { return described(run, one.recv(2000)); });
  run.transcript.result("two", [&] { return described(run, two.recv(2000)); });
  elsewhere.settimeout(kShortMs);
  run.transcript.outcome("connected elsewhere", [&] { elsewhere.recv(2000); });
  other.settimeout(kShortMs);
  run.transcript.outcome("another protocol", [&] { other.recv(2000); });
}

void raw_header_is_included(const Run& run) {
  Socket socket = raw_socket();
  socket.setsockopt(IPPROTO_IP, IP_HDRINCL, 1);
  iphdr header{};
  header.version = 4;
  header.ihl = 5;
  header.ttl = 17;
  header.protocol = kEchoProtocol;
  inet_pton(AF_INET, run.setting.peer.c_str(), &header.daddr);
  // Length, checksum, source and identification are filled in.
  std::string packet(reinterpret_cast<const char*>(&header), sizeof header);
  packet += "header";
  run.transcript.result("sendto",
                        [&] { return std::to_string(socket.sendto(packet, run.setting.peer)); });
  // The peer says which time to live it saw.
  run.transcript.result("recv", [&] { return described(run, socket.recv(2000)); });
  run.transcript.outcome("no header", [&] { socket.sendto("short", run.setting.peer); });
  packet[0] = 0x41;
  run.transcript.outcome("a header too short", [&] { socket.sendto(packet, run.setting.peer); });
  packet[0] = 0x4f;
  run.transcript.outcome("a header too long", [&] { socket.sendto(packet, run.setting.peer); });
  run.transcript.outcome("longer than the MTU",
                         [&] { socket.sendto(std::string(1501, 'E'), run.setting.peer); });
}

void raw_fragments(const Run& run) {
  Socket socket = raw_socket();
  socket.sendto(pattern(4000), run.setting.peer);
  run.transcript.result("recv", [&] { return described(run, socket.recv(65535)); });
}

void raw_over_loopback(const Run& run) {
  Socket socket = raw_socket(kOtherProtocol);
  socket.sendto("here", Setting::kLoopback);
  run.transcript.result("recv", [&] { return described(run, socket.recv(2000)); });
}

void raw_time_limit(const Run& run) {
  Socket socket = raw_socket();
  socket.settimeout(kShortMs);
  run.transcript.outcome("recv", [&] { socket.recv(2000); });
  socket.settimeout(0);
  run.transcript.outcome("recv, non-blocking", [&] { socket.recv(2000); });
}

void raw_not_connected(const Run& run) {
  Socket socket = raw_socket();
  run.transcript.outcome("send", [&] { socket.send("x"); });
  run.transcript.outcome("getpeername", [&] { socket.getpeername(); });
  run.transcript.outcome("listen", [&] { socket.listen(); });
}

void raw_icmp_is_the_kernels(const Run& run) {
  Socket socket = raw_socket(IPPROTO_ICMP);
  // An echo request (RFC 792): type 8, code 0, checksum, identifier 1, number 1.
  socket.connect(run.setting.peer);
  socket.send(Bytes("\x08\x00\xf7\xfd\x00\x01\x00\x01", 8));
  run.transcript.result("recv", [&] {
    const std::string packet = socket.recv(2000);
    return "type " + std::to_string(packet[sizeof(iphdr)]);
  });
}

void raw_protocols_that_the_kernel_refuses(const Run& run) {
  run.transcript.sentence("protocol 0", [] { raw_socket(0); });
  run.transcript.sentence("protocol 999", [] { raw_socket(999); });
  run.transcript.outcome("IPPROTO_TCP", [] { raw_socket(IPPROTO_TCP); });
  run.transcript.outcome("IPPROTO_RAW", [] { raw_socket(IPPROTO_RAW); });
}

}  // namespace scenarios
}  // namespace underpass::test
