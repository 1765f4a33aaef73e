// address.cpp - conversions between our addresses and the system's
#include "base/address.h"

#include <arpa/inet.h>

#include <algorithm>

namespace underpass {

namespace {
constexpr std::array<uint8_t, 12> kV4Prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
}

IpAddress IpAddress::from_v4(uint32_t address) {
  IpAddress ip;
  std::copy(kV4Prefix.begin(), kV4Prefix.end(), ip.bytes.begin());
  std::memcpy(&ip.bytes[12], &address, sizeof address);
  return ip;
}

IpAddress IpAddress::from_v6(const in6_addr& address) {
  IpAddress ip;
  std::memcpy(ip.bytes.data(), &address, ip.bytes.size());
  return ip;
}

IpAddress IpAddress::any(int family) { return family == AF_INET ? from_v4(0) : IpAddress{}; }

bool IpAddress::is_v4() const {
  return std::equal(kV4Prefix.begin(), kV4Prefix.end(), bytes.begin());
}

uint32_t IpAddress::v4() const {
  uint32_t address = 0;
  std::memcpy(&address, &bytes[12], sizeof address);
  return address;
}

bool IpAddress::is_any() const { return is_v4() ? v4() == 0 : *this == IpAddress{}; }

bool IpAddress::is_loopback() const {
  if (is_v4()) return bytes[12] == 127;
  IpAddress loopback;
  loopback.bytes[15] = 1;
  return *this == loopback;
}

bool IpAddress::is_multicast() const {
  return is_v4() ? (bytes[12] & 0xf0) == 0xe0 : bytes[0] == 0xff;
}

bool IpAddress::is_broadcast() const { return is_v4() && v4() == 0xffffffffU; }

bool IpAddress::is_link_local() const { return bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80; }

std::string IpAddress::to_string() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (is_v4()) {
    inet_ntop(AF_INET, &bytes[12], text, sizeof text);
  } else {
    inet_ntop(AF_INET6, bytes.data(), text, sizeof text);
  }
  return text;
}

Result<SocketAddress> SocketAddress::from_sockaddr(const sockaddr* address, socklen_t length) {
  if (address == nullptr || length < sizeof(sa_family_t)) return Error{EINVAL};
  SocketAddress out;
  if (address->sa_family == AF_INET) {
    if (length < sizeof(sockaddr_in)) return Error{EINVAL};
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof in);
    out.ip = IpAddress::from_v4(in.sin_addr.s_addr);
    out.port = ntohs(in.sin_port);
    return out;
  }
  if (address->sa_family == AF_INET6) {
    // Linux takes the 24 bytes of RFC 2133 too, without the scope (ipv6(7)).
    constexpr socklen_t kWithoutScope = 24;
    if (length < kWithoutScope) return Error{EINVAL};
    sockaddr_in6 in6{};
    std::memcpy(&in6, address, std::min<size_t>(length, sizeof in6));
    out.ip = IpAddress::from_v6(in6.sin6_addr);
    out.port = ntohs(in6.sin6_port);
    out.scope_id = in6.sin6_scope_id;
    return out;
  }
  return Error{EAFNOSUPPORT};
}

socklen_t SocketAddress::to_sockaddr(int family, sockaddr_storage& out) const {
  out = {};
  if (family == AF_INET) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    in.sin_addr.s_addr = ip.v4();
    std::memcpy(&out, &in, sizeof in);
    return sizeof in;
  }
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(port);
  in6.sin6_scope_id = scope_id;
  std::memcpy(&in6.sin6_addr, ip.bytes.data(), ip.bytes.size());
  std::memcpy(&out, &in6, sizeof in6);
  return sizeof in6;
}

std::string SocketAddress::to_string() const {
  const std::string text = ip.to_string();
  return (ip.is_v4() ? text : "[" + text + "]") + ":" + std::to_string(port);
}

}  // namespace underpass
