// names.h - the addresses of a scenario's two hosts, in the family that the program was started for
//
// A scenario says mine(), theirs(), loopback(); of which family these are is told by the addresses
// on the program's command line: "10.77.1.1" means AF_INET, "fd77::1" and "fe80::1%up0" AF_INET6,
// and "::ffff:10.77.1.1" an AF_INET6 socket that speaks IPv4.
#pragma once

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstring>
#include <string>

namespace scenario {

// IPv4 in its v4-mapped form.
using Ip = in6_addr;

// A socket address of the scenario's family.
union Name {
  sockaddr_storage room{};
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
};

inline int family = AF_INET;
inline uint32_t scope = 0;  // of link-local addresses
inline Ip my_ip{};
inline Ip peer_ip{};

inline bool operator==(const Ip& one, const Ip& other) {
  return memcmp(&one, &other, sizeof one) == 0;
}

inline Ip from_v4(uint32_t host_order) {
  Ip ip{};
  ip.s6_addr[10] = ip.s6_addr[11] = 0xff;
  ip.s6_addr32[3] = htonl(host_order);
  return ip;
}
inline Ip v4_ip(in_addr address) { return from_v4(ntohl(address.s_addr)); }
inline in_addr to_v4(const Ip& ip) { return {ip.s6_addr32[3]}; }
inline bool is_v4(const Ip& ip) { return IN6_IS_ADDR_V4MAPPED(&ip); }
// What the sockets speak, whatever their family.
inline bool over_v4() { return is_v4(my_ip); }

// With a scope behind '%'. False: no address.
inline bool read_ip(const char* text, Ip& out) {
  std::string host = text;
  const size_t mark = host.find('%');
  if (mark != std::string::npos) {
    scope = if_nametoindex(host.c_str() + mark + 1);
    host.resize(mark);
  }
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) {
    out = from_v4(ntohl(v4.s_addr));
    return true;
  }
  family = AF_INET6;
  return inet_pton(AF_INET6, host.c_str(), &out) == 1;
}

inline bool read_hosts(const char* mine, const char* theirs) {
  return read_ip(mine, my_ip) && read_ip(theirs, peer_ip);
}

inline int another_family() { return family == AF_INET ? AF_INET6 : AF_INET; }
// What a whole name of the family takes.
inline socklen_t name_bytes() {
  return family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
}
inline socklen_t size(const Name&) { return name_bytes(); }
inline sockaddr* plain(Name& name) { return &name.any; }

inline Name at(const Ip& ip, int port) {
  Name name;
  name.any.sa_family = static_cast<sa_family_t>(family);
  const uint16_t network_port = htons(static_cast<uint16_t>(port));
  if (family == AF_INET) {
    name.v4.sin_addr = to_v4(ip);
    name.v4.sin_port = network_port;
    return name;
  }
  name.v6.sin6_addr = ip;
  name.v6.sin6_port = network_port;
  if (IN6_IS_ADDR_LINKLOCAL(&ip) || IN6_IS_ADDR_MC_LINKLOCAL(&ip)) name.v6.sin6_scope_id = scope;
  return name;
}

inline Ip ip_of(const Name& name) {
  return name.any.sa_family == AF_INET ? from_v4(ntohl(name.v4.sin_addr.s_addr))
                                       : name.v6.sin6_addr;
}
// The port is at the same place in both.
inline int port_in(const Name& name) { return ntohs(name.v4.sin_port); }
inline void set_port(Name& name, int port) {
  name.v4.sin_port = htons(static_cast<uint16_t>(port));
}

inline Ip loopback_ip() { return over_v4() ? from_v4(INADDR_LOOPBACK) : Ip(IN6ADDR_LOOPBACK_INIT); }
// "::" of an IPv6 socket is 0.0.0.0, too.
inline Ip any_ip() { return family == AF_INET ? from_v4(INADDR_ANY) : Ip{}; }
// An address of the same network that ends otherwise.
inline Ip neighbour_of(Ip ip, uint8_t last) {
  ip.s6_addr[15] = last;
  return ip;
}

inline Name mine(int port = 0) { return at(my_ip, port); }
inline Name theirs(int port) { return at(peer_ip, port); }
inline Name loopback(int port = 0) { return at(loopback_ip(), port); }
inline Name anywhere(int port = 0) { return at(any_ip(), port); }
// The interface of the scenario's host has a second address (transcript_test.py).
inline Name second_of(const Ip& ip, int port = 0) { return at(neighbour_of(ip, 250), port); }
// One of the two texts.
inline Name at_text(const char* v4, const char* v6, int port) {
  Ip ip{};
  if (over_v4()) {
    in_addr address{};
    inet_pton(AF_INET, v4, &address);
    ip = from_v4(ntohl(address.s_addr));
  } else {
    inet_pton(AF_INET6, v6, &ip);
  }
  return at(ip, port);
}
// No route leads there.
inline Name nowhere() { return at_text("198.51.100.7", "2001:db8::7", 7); }
inline Name no_name() {
  Name none;
  none.any.sa_family = AF_UNSPEC;
  return none;
}

inline const char* ip_name(const Ip& ip) {
  if (ip == my_ip) return "mine";
  if (ip == peer_ip) return "peer";
  if (ip == loopback_ip()) return "loopback";
  if (ip == any_ip()) return "any";
  return ip == from_v4(INADDR_ANY) ? "any of IPv4" : "another";
}

}  // namespace scenario
