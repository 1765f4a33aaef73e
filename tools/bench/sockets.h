// sockets.h - the plain sockets of the programs of this folder
//
// These programs are what is measured, on the kernel and preloaded, so they use nothing but libc.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "tools/bench/arguments.h"

namespace underpass::bench {

inline sockaddr_in address_of(const Arguments& arguments, const char* program) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(arguments.count("port", 0)));
  if (arguments.has("address") &&
      inet_pton(AF_INET, arguments.text("address").c_str(), &address.sin_addr) != 1) {
    fail(program, "--address= is no IPv4 address");
  }
  return address;
}

inline int checked(int result, const char* program, const char* what) {
  if (result < 0) fail(program, what, errno);
  return result;
}

inline void set_no_delay(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

// A listening TCP socket or a bound UDP socket.
inline int server_socket(int type, const sockaddr_in& address, const char* program) {
  const int fd = checked(socket(AF_INET, type, 0), program, "socket");
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const auto* at = reinterpret_cast<const sockaddr*>(&address);
  checked(bind(fd, at, sizeof address), program, "bind");
  if (type == SOCK_STREAM) checked(listen(fd, 16), program, "listen");
  return fd;
}

inline int connected_socket(int type, const sockaddr_in& address, const char* program) {
  const int fd = checked(socket(AF_INET, type, 0), program, "socket");
  const auto* at = reinterpret_cast<const sockaddr*>(&address);
  checked(connect(fd, at, sizeof address), program, "connect");
  if (type == SOCK_STREAM) set_no_delay(fd);
  return fd;
}

}  // namespace underpass::bench
