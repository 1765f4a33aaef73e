// peer.cpp - the other end of the scenarios, on the kernel: peer ADDRESS
//
// Beside what peer.h says, each packet of IP protocol 253 goes back with its letters in capitals,
// and with the time to live with which it came.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstring>

#include "tests/socket/peer.h"

namespace {

constexpr int kEchoProtocol = 253;

[[noreturn]] void echo_raw(const char* address) {
  const int fd = ::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, kEchoProtocol);
  sockaddr_in own{};
  own.sin_family = AF_INET;
  inet_pton(AF_INET, address, &own.sin_addr);
  if (fd < 0 || ::bind(fd, reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0) {
    std::perror("raw socket");
    ::_exit(1);
  }
  for (;;) {
    char packet[65536];
    sockaddr_in from{};
    socklen_t length = sizeof from;
    auto* at = reinterpret_cast<sockaddr*>(&from);
    const ssize_t got = ::recvfrom(fd, packet, sizeof packet, 0, at, &length);
    if (got < static_cast<ssize_t>(sizeof(iphdr))) continue;
    iphdr header;
    std::memcpy(&header, packet, sizeof header);
    char* const data = packet + header.ihl * 4U;
    std::transform(data, packet + got, data, [](char byte) {
      return static_cast<char>(std::toupper(static_cast<unsigned char>(byte)));
    });
    const int ttl = header.ttl;
    ::setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl);
    ::sendto(fd, data, static_cast<size_t>(packet + got - data), 0, at, length);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto net = underpass::test::kernel_net(argv[1]);
  underpass::test::serve(*net);
  echo_raw(argv[1]);
}
