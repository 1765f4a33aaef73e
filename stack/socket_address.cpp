// socket_address.cpp - addresses of the Socket class: from text and numbers to sockaddr and back
#include <arpa/inet.h>
#include <linux/can.h>
#include <net/if.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "stack/socket.h"

namespace underpass {

namespace {

constexpr std::int64_t kMaxPort = 65535;
constexpr std::int64_t kMaxOctet = 255;

// inet_pton(3) would stop at a zero byte inside.
bool is_plain(std::string_view text) {
  return !text.empty() && text.find('\0') == std::string_view::npos;
}

bool read_v4(std::string_view text, in_addr& out) {
  return is_plain(text) && inet_pton(AF_INET, std::string(text).c_str(), &out) == 1;
}

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

std::uint16_t checked_port(std::int64_t port) {
  if (port < 0 || port > kMaxPort) {
    throw IOError(EINVAL, "port " + std::to_string(port) + " is not in 0 to 65535");
  }
  return static_cast<std::uint16_t>(port);
}

std::uint32_t scope_of(std::string_view host, const std::string& name) {
  std::uint32_t index = 0;
  const char* const end = name.data() + name.size();
  const auto [stop, failure] = std::from_chars(name.data(), end, index);
  if (failure == std::errc{} && stop == end && index != 0) return index;
  index = if_nametoindex(name.c_str());
  if (index == 0) throw IOError(ENODEV, "no interface " + quoted(name) + " in " + quoted(host));
  return index;
}

void write_v4(const std::string& host, std::uint16_t port, sockaddr_in& out) {
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  if (!read_v4(host, out.sin_addr)) throw IOError(EINVAL, quoted(host) + " is no IPv4 address");
}

void write_v6(const std::string& host, std::uint16_t port, sockaddr_in6& out) {
  const std::size_t percent = host.find('%');
  const std::string ip = host.substr(0, percent);
  out.sin6_family = AF_INET6;
  out.sin6_port = htons(port);
  if (!is_plain(host) || inet_pton(AF_INET6, ip.c_str(), &out.sin6_addr) != 1) {
    throw IOError(EINVAL, quoted(host) + " is no IPv6 address");
  }
  if (percent != std::string::npos) out.sin6_scope_id = scope_of(host, host.substr(percent + 1));
}

void write_can(const std::string& host, sockaddr_can& out) {
  out.can_family = AF_CAN;
  const unsigned index = is_plain(host) ? if_nametoindex(host.c_str()) : 0;
  if (index == 0) throw IOError(ENODEV, "no interface " + quoted(host));
  out.can_ifindex = static_cast<int>(index);
}

std::string interface_name(unsigned index) {
  char name[IF_NAMESIZE] = "";
  return if_indextoname(index, name) != nullptr ? name : std::to_string(index);
}

template <class T>
T read(const sockaddr_storage& address) {
  T out{};
  std::memcpy(&out, &address, sizeof out);
  return out;
}

std::string v6_text(const sockaddr_in6& address) {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(AF_INET6, &address.sin6_addr, text, sizeof text);
  if (address.sin6_scope_id == 0) return text;
  return std::string(text) + "%" + interface_name(address.sin6_scope_id);
}

}  // namespace

std::tuple<int, int, int, int> ip_to_tuple(std::string_view text) {
  in_addr address{};
  if (!read_v4(text, address)) throw IOError(EINVAL, quoted(text) + " is no IPv4 address");
  std::uint8_t octets[4];
  std::memcpy(octets, &address, sizeof octets);
  return {octets[0], octets[1], octets[2], octets[3]};
}

Address::Address(Parts, std::string_view host, std::int64_t port)
    : host_(host), port_(checked_port(port)) {
  if (host.empty()) throw IOError(EINVAL, "\"\" is no address");
}

Address::Address(Parts, std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d,
                 std::int64_t port) {
  for (const std::int64_t octet : {a, b, c, d}) {
    if (octet < 0 || octet > kMaxOctet) {
      throw IOError(EINVAL, std::to_string(octet) + " is not in 0 to 255: no part of an address");
    }
    if (!host_.empty()) host_ += '.';
    host_ += std::to_string(octet);
  }
  port_ = checked_port(port);
}

std::string Address::to_string() const {
  if (host_.find(':') != std::string::npos) return "[" + host_ + "]:" + std::to_string(port_);
  // A CAN interface has no port.
  in_addr ignored{};
  return read_v4(host_, ignored) ? host_ + ":" + std::to_string(port_) : host_;
}

socklen_t Address::to_sockaddr(int family, sockaddr_storage& out) const {
  out = {};
  if (host_.empty()) throw IOError(EINVAL, "the address is nobody's");
  auto write = [&](auto writer, auto address, auto... port) {
    writer(host_, port..., address);
    std::memcpy(&out, &address, sizeof address);
    return static_cast<socklen_t>(sizeof address);
  };
  switch (family) {
    case AF_INET:
      return write(write_v4, sockaddr_in{}, port_);
    case AF_INET6:
      return write(write_v6, sockaddr_in6{}, port_);
    case AF_CAN:
      return write(write_can, sockaddr_can{});
    default:
      throw IOError(EAFNOSUPPORT, "family " + std::to_string(family) + " has no addresses here");
  }
}

Address Address::from_sockaddr(const sockaddr_storage& address, socklen_t length) {
  Address out;
  if (length < sizeof(sa_family_t)) return out;
  switch (address.ss_family) {
    case AF_INET: {
      const auto in = read<sockaddr_in>(address);
      char text[INET_ADDRSTRLEN] = "";
      out.host_ = inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
      out.port_ = ntohs(in.sin_port);
      return out;
    }
    case AF_INET6: {
      const auto in6 = read<sockaddr_in6>(address);
      out.host_ = v6_text(in6);
      out.port_ = ntohs(in6.sin6_port);
      return out;
    }
    case AF_CAN: {
      // A socket that is bound to all of them has index 0.
      const int index = read<sockaddr_can>(address).can_ifindex;
      if (index != 0) out.host_ = interface_name(static_cast<unsigned>(index));
      return out;
    }
    default:
      throw IOError(EAFNOSUPPORT,
                    "an address of family " + std::to_string(address.ss_family) + " is not known");
  }
}

}  // namespace underpass
