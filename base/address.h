// address.h - IP and socket addresses, family neutral
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <string>

#include "base/result.h"

namespace underpass {

// An IPv6 address, or an IPv4 address in its v4-mapped form (RFC 4291, 2.5.5.2). A value.
struct IpAddress {
  std::array<uint8_t, 16> bytes{};

  // `address` is in network byte order.
  static IpAddress from_v4(uint32_t address);
  static IpAddress from_v6(const in6_addr& address);
  // 0.0.0.0 is not "::": a v4 wildcard keeps its family.
  static IpAddress any(int family);

  bool is_v4() const;
  // In network byte order; only for v4.
  uint32_t v4() const;
  int family() const { return is_v4() ? AF_INET : AF_INET6; }
  bool is_any() const;
  bool is_loopback() const;
  bool is_multicast() const;
  bool is_broadcast() const;   // 255.255.255.255
  bool is_link_local() const;  // fe80::/10: says nothing without a scope
  bool operator==(const IpAddress&) const = default;
  std::string to_string() const;
};

// `port` is in host byte order. `scope_id` is an interface index, or 0.
struct SocketAddress {
  IpAddress ip;
  uint16_t port = 0;
  uint32_t scope_id = 0;

  // EINVAL: too short for its family. EAFNOSUPPORT: neither AF_INET nor AF_INET6.
  static Result<SocketAddress> from_sockaddr(const sockaddr* address, socklen_t length);
  // Writes the form that a socket of `family` shows (AF_INET6 shows v4 as v4-mapped); returns its
  // length.
  socklen_t to_sockaddr(int family, sockaddr_storage& out) const;
  bool operator==(const SocketAddress&) const = default;
  std::string to_string() const;
};

using MacAddress = std::array<uint8_t, 6>;

}  // namespace underpass
