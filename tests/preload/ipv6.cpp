// ipv6.cpp - what is AF_INET6's own: two families in a socket, scopes, options, control data
//
// Runs with addresses of IPv6, link-local ones, and IPv4's in an AF_INET6 socket (names.h).
#include <netinet/tcp.h>

#include "scenario.h"

using namespace scenario;

namespace {

Name v6_at(const char* text, int port = 0) {
  Ip ip{};
  inet_pton(AF_INET6, text, &ip);
  return at(ip, port);
}

// As an IPv4 program would say it, in the room that IPv6's takes.
Name plain_v4(uint32_t host_order, int port) {
  Name name;
  name.v4.sin_family = AF_INET;
  name.v4.sin_addr.s_addr = htonl(host_order);
  name.v4.sin_port = htons(static_cast<uint16_t>(port));
  return name;
}

void only_v6(int fd) { set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1); }

int bound(int fd, Name name) {
  must("bind", bind(fd, plain(name), size(name)));
  return fd;
}

// ---- one port, two families

void both_families_on_one_port() {
  for (const bool alone : {false, true}) {
    note("-- V6ONLY %d", alone);
    const int fd = tcp();
    if (alone) only_v6(fd);
    bound(fd, v6_at("::"));
    said_sockname(fd);
    const int on = 1;
    said("V6ONLY once it is bound", setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on));
    must("listen", listen(fd, 4));
    const int other = must("socket", socket(AF_INET, SOCK_STREAM, 0));
    Name any = plain_v4(INADDR_ANY, port_of(fd));
    said("bind IPv4's", bind(other, plain(any), sizeof any.v4));
    const int mapped = tcp();
    Name same = v6_at("::ffff:0.0.0.0", port_of(fd));
    said("bind mapped", bind(mapped, plain(same), size(same)));
    const int second = tcp();
    Name loop = v6_at("::1", port_of(fd));
    said("bind ::1", bind(second, plain(loop), size(loop)));
    for (const int one : {fd, other, mapped, second}) close(one);
  }
}

void exchange(int fd, int slot) {
  char buffer[16];
  said("send", send(fd, "hello", 5, 0));
  peer_said("recv %d 5", slot);
  ask("text %d world", slot);
  said_data("recv", recv(fd, buffer, 5, MSG_WAITALL), buffer);
  answer_said("text");
}

// One accept for the peer, and for either family's loopback.
void a_listener_of_both() {
  const int fd = listening(v6_at("::"));
  for (const char* from : {"::1", "::ffff:127.0.0.1"}) {
    const int local = tcp();
    Name address = v6_at(from, port_of(fd));
    said("connect", connect(local, plain(address), size(address)));
    Name name;
    socklen_t length = size(name);
    const int conn = accept(fd, plain(name), &length);
    note("accepted %d, IPv4 %d length %u", conn >= 0, is_v4(ip_of(name)), length);
    said_sockname(conn);
    close(conn);
    close(local);
  }
  peer("connect 1 %d", port_of(fd));
  Name name;
  socklen_t length = size(name);
  const int conn = accept(fd, plain(name), &length);
  said_name("accept", conn < 0 ? -1 : 0, name, length);
  said_sockname(conn);
  said_peername(conn);
  exchange(conn, 1);
  close(conn);
  close(fd);
}

// A socket of IPv6 alone does not hear IPv4, and does not speak it.
void without_v4() {
  const int fd = tcp();
  only_v6(fd);
  bound(fd, v6_at("::"));
  must("listen", listen(fd, 4));
  const std::string done = peer("connect 1 %d", port_of(fd));
  note("peer's connect: %s", done.c_str());
  const int client = tcp();
  only_v6(client);
  Name address = v6_at("::ffff:127.0.0.1", port_of(fd));
  said("connect to IPv4", connect(client, plain(address), size(address)));
  const int datagrams = udp();
  only_v6(datagrams);
  said("connect to IPv4", connect(datagrams, plain(address), size(address)));
  said("sendto IPv4", sendto(datagrams, "x", 1, 0, plain(address), size(address)));
  Name v4 = plain_v4(INADDR_LOOPBACK, port_of(fd));
  said("AF_INET", connect(datagrams, plain(v4), sizeof v4.v4));
  said("AF_INET", sendto(datagrams, "x", 1, 0, plain(v4), sizeof v4.v4));
  for (const int one : {fd, client, datagrams}) close(one);
}

// What is bound to one family does not reach the other.
void bound_to_the_other_family() {
  Name target = theirs(number(peer("listen 0")));
  Name datagrams = theirs(number(peer("udp 1")));
  for (const char* from : {"::1", "::ffff:127.0.0.1", "::ffff:0.0.0.0"}) {
    if (is_v4(ip_of(v6_at(from))) == over_v4()) continue;
    note("-- from %s", from);
    const int fd = bound(tcp(), v6_at(from));
    worked("connect", connect(fd, plain(target), size(target)));
    close(fd);
    const int other = bound(udp(), v6_at(from));
    worked("sendto", sendto(other, "x", 1, 0, plain(datagrams), size(datagrams)));
    close(other);
  }
}

// ---- addresses of other shapes

void ipv4_addresses() {
  const int port = number(peer(over_v4() ? "listen 0" : "closed_port 0"));
  const Ip v4 = over_v4() ? peer_ip : from_v4(INADDR_LOOPBACK);
  Name name = plain_v4(ntohl(to_v4(v4).s_addr), port);
  const int fd = tcp();
  said("connect", connect(fd, plain(name), sizeof name.v4));
  said("connect, long", connect(fd, plain(name), sizeof name.v6));
  said("bind", bind(fd, plain(name), sizeof name.v4));
  said("bind, long", bind(fd, plain(name), sizeof name.v6));
  close(fd);
  const int datagrams = udp();
  set_timeout(datagrams, SO_RCVTIMEO, kLimitMs);
  if (over_v4()) set_port(name, number(peer("udp 1")));
  said("sendto", sendto(datagrams, "hello", 5, 0, plain(name), sizeof name.v4));
  if (over_v4()) peer_said("recvfrom 1");
  said("sendto, short", sendto(datagrams, "hello", 5, 0, plain(name), 8));
  said("connect, short", connect(datagrams, plain(name), 8));
  said("connect", connect(datagrams, plain(name), sizeof name.v4));
  said_peername(datagrams);
  said_sockname(datagrams);
  close(datagrams);
}

// 24 bytes are RFC 2133's address, without the scope (ipv6(7)).
void short_addresses() {
  constexpr socklen_t kWithoutScope = 24;
  Name target = theirs(number(peer("listen 0")));
  int fd = tcp();
  said("too short", connect(fd, plain(target), kWithoutScope - 1));
  said("connect", connect(fd, plain(target), kWithoutScope));
  close(fd);
  fd = udp();
  Name datagrams = theirs(number(peer("udp 1")));
  said("too short", sendto(fd, "hello", 5, 0, plain(datagrams), kWithoutScope - 1));
  said("sendto", sendto(fd, "hello", 5, 0, plain(datagrams), kWithoutScope));
  close(fd);
}

// To nobody means to oneself.
void to_the_unspecified_address() {
  const int fd = listening(v6_at("::"));
  const int client = tcp();
  Name address = v6_at("::", port_of(fd));
  said("connect", connect(client, plain(address), size(address)));
  note("to loopback: %d", [&] {
    Name name;
    socklen_t length = size(name);
    getpeername(client, plain(name), &length);
    return ip_of(name) == Ip(IN6ADDR_LOOPBACK_INIT);
  }());
  const int datagrams = bound(udp(), v6_at("::"));
  set_timeout(datagrams, SO_RCVTIMEO, kLimitMs);
  address = v6_at("::", port_of(datagrams));
  said("sendto", sendto(datagrams, "hello", 5, 0, plain(address), size(address)));
  char buffer[8];
  said_data("recv", recv(datagrams, buffer, sizeof buffer, 0), buffer);
  for (const int one : {fd, client, datagrams}) close(one);
}

// What stands behind the address of one that has no scope, and in flow information that nobody
// asked for, is not looked at.
void stray_scope_and_flow() {
  Name target = theirs(number(peer("listen 0")));
  if (target.v6.sin6_scope_id == 0) target.v6.sin6_scope_id = 77;
  target.v6.sin6_flowinfo = htonl(5);
  const int fd = tcp();
  said("connect", connect(fd, plain(target), size(target)));
  said_peername(fd);
  said_sockname(fd);
  peer("accept 0 1");
  exchange(fd, 1);
  close(fd);
  Name datagrams = theirs(number(peer("udp 2")));
  if (datagrams.v6.sin6_scope_id == 0) datagrams.v6.sin6_scope_id = 77;
  const int other = udp();
  said("sendto", sendto(other, "hello", 5, 0, plain(datagrams), size(datagrams)));
  peer_said("recvfrom 2");
  said("connect", connect(other, plain(datagrams), size(datagrams)));
  said_peername(other);
  close(other);
}

void scopes_of_link_local_addresses() {
  if (!IN6_IS_ADDR_LINKLOCAL(&my_ip)) return;
  int port = number(peer("listen 0"));
  for (const uint32_t wrong : {0U, 77U}) {
    note("-- scope %u", wrong);
    Name target = theirs(port);
    Name own = mine();
    target.v6.sin6_scope_id = own.v6.sin6_scope_id = wrong;
    for (const int fd : {tcp(), udp()}) {
      worked("connect", connect(fd, plain(target), size(target)));
      close(fd);
    }
    for (const int fd : {tcp(), udp()}) {
      worked("bind", bind(fd, plain(own), size(own)));
      close(fd);
    }
  }
  note("-- bound to a scope");
  port = number(peer("listen 0"));
  const int fd = bound(tcp(), mine());
  said_sockname(fd);
  Name target = theirs(port);
  target.v6.sin6_scope_id = 0;
  said("connect", connect(fd, plain(target), size(target)));
  said_peername(fd);
  peer("accept 0 1");
  exchange(fd, 1);
  close(fd);
  const int other = bound(udp(), mine());
  Name datagrams = theirs(number(peer("udp 2")));
  datagrams.v6.sin6_scope_id = 0;
  said("sendto", sendto(other, "hello", 5, 0, plain(datagrams), size(datagrams)));
  peer_said("recvfrom 2");
  close(other);
}

// A datagram socket is one family's today and the other's tomorrow.
void connected_to_either_family() {
  const int fd = udp();
  set_timeout(fd, SO_RCVTIMEO, kLimitMs);
  Name target = theirs(number(peer("udp 0")));
  for (const char* first : {"::1", "::ffff:127.0.0.1"}) {
    Name other = v6_at(first, 9);
    said("connect", connect(fd, plain(other), size(other)));
    note("from IPv4: %d", [&] {
      Name name;
      socklen_t length = size(name);
      getsockname(fd, plain(name), &length);
      return is_v4(ip_of(name));
    }());
    Name none = no_name();
    said("AF_UNSPEC", connect(fd, plain(none), size(none)));
    said_sockname(fd);
    said("connect", connect(fd, plain(target), size(target)));
    said_sockname(fd);
    ask("echo 0");
    said("send", send(fd, "hello", 5, 0));
    answer_said("echo");
    char buffer[16];
    said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
    said("AF_UNSPEC", connect(fd, plain(none), size(none)));
  }
  close(fd);
}

// ---- options

struct Option {
  const char* name;
  int option;
  int value;  // to set; -2: only read
};

constexpr int kRead = -2;
constexpr Option kOptions[] = {
    {"IPV6_V6ONLY", IPV6_V6ONLY, kRead},
    {"IPV6_MTU", IPV6_MTU, kRead},  // forgotten by some that follow
    {"IPV6_UNICAST_HOPS", IPV6_UNICAST_HOPS, 33},
    {"IPV6_UNICAST_HOPS", IPV6_UNICAST_HOPS, -1},
    {"IPV6_UNICAST_HOPS", IPV6_UNICAST_HOPS, 256},
    {"IPV6_TCLASS", IPV6_TCLASS, 0x20},
    {"IPV6_TCLASS", IPV6_TCLASS, -1},
    {"IPV6_TCLASS", IPV6_TCLASS, 0x23},
    {"IPV6_RECVPKTINFO", IPV6_RECVPKTINFO, 1},
    {"IPV6_RECVHOPLIMIT", IPV6_RECVHOPLIMIT, 1},
    {"IPV6_RECVTCLASS", IPV6_RECVTCLASS, 1},
    {"IPV6_RECVRTHDR", IPV6_RECVRTHDR, 1},
    {"IPV6_RECVDSTOPTS", IPV6_RECVDSTOPTS, 1},
    {"IPV6_RECVPATHMTU", IPV6_RECVPATHMTU, 1},
    {"IPV6_RECVERR", IPV6_RECVERR, 1},
    {"IPV6_MTU_DISCOVER", IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO},
    {"IPV6_MTU_DISCOVER", IPV6_MTU_DISCOVER, 77},
    {"IPV6_DONTFRAG", IPV6_DONTFRAG, 1},
    {"IPV6_AUTOFLOWLABEL", IPV6_AUTOFLOWLABEL, 1},
    {"IP_TTL", -IP_TTL, 40},
    {"IP_TOS", -IP_TOS, 0x10},
};

void said_option(int fd, const Option& one) {
  int value = -1;
  socklen_t length = sizeof value;
  const int level = one.option < 0 ? IPPROTO_IP : IPPROTO_IPV6;
  const int result = getsockopt(fd, level, abs(one.option), &value, &length);
  if (result != 0) {
    said(one.name, result);
  } else {
    note("%s %d length %u", one.name, value, length);
  }
}

void set_and_read_back(int fd) {
  for (const Option& one : kOptions) {
    said_option(fd, one);
    if (one.value == kRead) continue;
    const int level = one.option < 0 ? IPPROTO_IP : IPPROTO_IPV6;
    said("set", setsockopt(fd, level, abs(one.option), &one.value, sizeof one.value));
    said_option(fd, one);
  }
}

void options_of_a_connection() {
  note("-- fresh");
  const int fd = tcp();
  set_and_read_back(fd);
  Name target = theirs(number(peer("listen 0")));
  said("connect", connect(fd, plain(target), size(target)));
  note("-- kept");
  for (const Option& one : kOptions) said_option(fd, one);
  peer("accept 0 1");
  exchange(fd, 1);
  close(fd);
  both_ways(set_and_read_back);
}

void options_of_a_listener() {
  const int fd = listening();
  set_and_read_back(fd);
  peer("connect 1 %d", port_of(fd));
  const int conn = accept(fd, nullptr, nullptr);
  note("-- inherited");
  for (const Option& one : kOptions) said_option(conn, one);
  exchange(conn, 1);
  close(conn);
  close(fd);
}

void options_of_a_datagram_socket() {
  const int fd = udp();
  set_timeout(fd, SO_RCVTIMEO, kLimitMs);
  set_and_read_back(fd);
  Name target = theirs(number(peer("udp 0")));
  said("connect", connect(fd, plain(target), size(target)));
  for (const Option& one : kOptions) said_option(fd, one);
  ask("echo 0");
  said("send", send(fd, "hello", 5, 0));
  answer_said("echo");
  char buffer[16];
  said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
  close(fd);
}

// A socket of IPv6 that is connected to IPv4 may become one of IPv4.
void made_a_socket_of_ipv4() {
  const int fd = udp();
  set_timeout(fd, SO_RCVTIMEO, kLimitMs);
  const int to = AF_INET;
  said("unconnected", setsockopt(fd, IPPROTO_IPV6, IPV6_ADDRFORM, &to, sizeof to));
  Name target = theirs(number(peer("udp 0")));
  must("connect", connect(fd, plain(target), size(target)));
  said("connected", setsockopt(fd, IPPROTO_IPV6, IPV6_ADDRFORM, &to, sizeof to));
  said_sockname(fd);
  said_peername(fd);
  ask("echo 0");
  said("send", send(fd, "hello", 5, 0));
  answer_said("echo");
  char buffer[16];
  Name from;
  socklen_t length = size(from);
  said_data("recvfrom", recvfrom(fd, buffer, sizeof buffer, 0, plain(from), &length), buffer);
  said_name("from", 0, from, length);
  close(fd);
}

// ---- control data

std::string packet_info_text(const in6_pktinfo& info) {
  const bool here = info.ipi6_ifindex == if_nametoindex("up0");
  return std::string(ip_name(info.ipi6_addr)) + (here ? " interface" : " another");
}

std::string control_text(const cmsghdr& one) {
  const auto is = [&](int level, int type) {
    return one.cmsg_level == level && one.cmsg_type == type;
  };
  if (is(IPPROTO_IPV6, IPV6_PKTINFO)) {
    in6_pktinfo info;
    memcpy(&info, CMSG_DATA(&one), sizeof info);
    return packet_info_text(info);
  }
  if (is(IPPROTO_IPV6, IPV6_HOPLIMIT) || is(IPPROTO_IPV6, IPV6_TCLASS) || is(IPPROTO_IP, IP_TTL)) {
    int value;
    memcpy(&value, CMSG_DATA(&one), sizeof value);
    return std::to_string(value);
  }
  return is(IPPROTO_IP, IP_TOS) ? std::to_string(*CMSG_DATA(&one)) : "";
}

void said_control(int fd, size_t room = 256) {
  char data[64];
  alignas(cmsghdr) char control[256];
  iovec piece{data, sizeof data};
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = room;
  said("recvmsg", recvmsg(fd, &header, 0));
  note("flags %x control %zu", static_cast<unsigned>(header.msg_flags), header.msg_controllen);
  for (cmsghdr* one = CMSG_FIRSTHDR(&header); one != nullptr; one = CMSG_NXTHDR(&header, one)) {
    note("level %d type %d length %zu: %s", one->cmsg_level, one->cmsg_type, one->cmsg_len,
         control_text(*one).c_str());
  }
}

void control_data_received() {
  const int fd = bound(udp(), v6_at("::"));
  set_timeout(fd, SO_RCVTIMEO, kLimitMs);
  const int port = port_of(fd);
  peer("udp 0");
  static constexpr std::pair<int, int> kAsked[] = {
      {IPPROTO_IPV6, IPV6_RECVHOPLIMIT}, {IPPROTO_IPV6, IPV6_RECVTCLASS},
      {IPPROTO_IPV6, IPV6_RECVPKTINFO},  {IPPROTO_IP, IP_RECVTTL},
      {IPPROTO_IP, IP_RECVTOS},
  };
  for (const auto& [level, option] : kAsked) {
    set_option(fd, level, option, 1);
    note("-- level %d option %d", level, option);
    peer("sendto 0 %d 5", port);
    said_control(fd);
  }
  note("-- over loopback");
  Name self = loopback(port);
  said("sendto", sendto(fd, "hello", 5, 0, plain(self), size(self)));
  said_control(fd);
  note("-- with less room");
  for (const size_t room : {0U, 16U, 24U, 40U, 63U}) {
    peer("sendto 0 %d 5", port);
    said_control(fd, room);
  }
  close(fd);
}

// One message to the peer's slot 0, with one piece of control data. True if it has left.
template <class Value>
bool send_with(int fd, Name& target, int level, int type, const Value& value) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof value)] = {};
  char text[] = "hello";
  iovec piece{text, 5};
  msghdr header{};
  header.msg_name = &target;
  header.msg_namelen = size(target);
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  cmsghdr* one = CMSG_FIRSTHDR(&header);
  one->cmsg_level = level;
  one->cmsg_type = type;
  one->cmsg_len = CMSG_LEN(sizeof value);
  memcpy(CMSG_DATA(one), &value, sizeof value);
  return said("sendmsg", sendmsg(fd, &header, 0)) >= 0;
}

template <class Value>
void send_and_hear(int fd, Name& target, int level, int type, const Value& value) {
  if (!send_with(fd, target, level, type, value)) return;
  peer_said("recvfrom 0");
  peer_said("sourceip");
}

void control_data_sent() {
  const int fd = bound(udp(), v6_at("::"));
  Name target = theirs(number(peer("udp 0")));
  const Ip second = ip_of(second_of(my_ip));
  const unsigned here = if_nametoindex("up0");
  for (const auto& [ip, index] : {std::pair<Ip, unsigned>{my_ip, 0},
                                  {my_ip, here},
                                  {second, 0},
                                  {peer_ip, 0},
                                  {my_ip, 77},
                                  {Ip{}, 0},
                                  {Ip{}, here}}) {
    // Of the other family, or of another link.
    if (IN6_IS_ADDR_LINKLOCAL(&my_ip) && ip == second) continue;
    note("-- from %s, interface %u", ip_name(ip), index == here ? 1 : index);
    send_and_hear(fd, target, IPPROTO_IPV6, IPV6_PKTINFO, in6_pktinfo{ip, index});
  }
  note("-- from a martian: what the peer hears next is another one");
  send_with(fd, target, IPPROTO_IPV6, IPV6_PKTINFO, in6_pktinfo{IN6ADDR_LOOPBACK_INIT, 0});
  for (const int value : {5, -1, 256, -2}) {
    note("-- %d", value);
    send_and_hear(fd, target, IPPROTO_IPV6, IPV6_HOPLIMIT, value);
    send_and_hear(fd, target, IPPROTO_IPV6, IPV6_TCLASS, value);
    send_and_hear(fd, target, IPPROTO_IP, IP_TTL, value);
  }
  send_and_hear(fd, target, IPPROTO_IPV6, 999, 1);
  close(fd);
}

// What the socket sends there itself comes by the kernel, the rest directly.
void multicast() {
  const int fd = bound(udp(), v6_at("::"));
  set_timeout(fd, SO_RCVTIMEO, kLimitMs);
  ipv6_mreq request{};
  inet_pton(AF_INET6, "ff02::4321", &request.ipv6mr_multiaddr);
  request.ipv6mr_interface = if_nametoindex("up0");
  said("join", setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &request, sizeof request));
  said("join again", setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &request, sizeof request));
  set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, static_cast<int>(request.ipv6mr_interface));
  for (const auto& [option, value] :
       {std::pair{IPV6_MULTICAST_HOPS, 3}, {IPV6_MULTICAST_LOOP, 1}}) {
    set_option(fd, IPPROTO_IPV6, option, value);
    said_option(fd, {"read back", option, kRead});
  }
  Name group = at(request.ipv6mr_multiaddr, port_of(fd));
  group.v6.sin6_scope_id = request.ipv6mr_interface;
  said("sendto", sendto(fd, "to the group", 12, 0, plain(group), size(group)));
  char buffer[16];
  said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
  peer("udp 0");
  peer("sendto 0 %d 5", port_of(fd));
  said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
  if (!over_v4()) {
    set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    set_option(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
    for (int i = 0; i < 2; ++i) {
      peer("sendgroup 0 %d 5", port_of(fd));
      said_control(fd);
    }
  }
  said("leave", setsockopt(fd, IPPROTO_IPV6, IPV6_LEAVE_GROUP, &request, sizeof request));
  said("leave again", setsockopt(fd, IPPROTO_IPV6, IPV6_LEAVE_GROUP, &request, sizeof request));
  close(fd);
}

constexpr Scenario kScenarios[] = {
    {"both_families_on_one_port", Proof::kNone, both_families_on_one_port},
    {"a_listener_of_both", Proof::kTcpHybrid, a_listener_of_both},
    {"without_v4", Proof::kNone, without_v4},
    {"bound_to_the_other_family", Proof::kNone, bound_to_the_other_family},
    {"ipv4_addresses", Proof::kNone, ipv4_addresses},
    {"short_addresses", Proof::kNone, short_addresses},
    {"to_the_unspecified_address", Proof::kNone, to_the_unspecified_address},
    {"stray_scope_and_flow", Proof::kTcp, stray_scope_and_flow},
    {"connected_to_either_family", Proof::kNone, connected_to_either_family},
    {"options_of_a_connection", Proof::kTcp, options_of_a_connection},
    {"options_of_a_listener", Proof::kTcp, options_of_a_listener},
    {"options_of_a_datagram_socket", Proof::kUdp, options_of_a_datagram_socket},
    {"made_a_socket_of_ipv4", Proof::kUdp, made_a_socket_of_ipv4},
    {"control_data_received", Proof::kUdp, control_data_received},
    {"control_data_sent", Proof::kNone, control_data_sent},
    {"multicast", Proof::kUdp, multicast},
    {"scopes_of_link_local_addresses", Proof::kNone, scopes_of_link_local_addresses},
};

}  // namespace

int main(int argc, char** argv) { return scenario::main(argc, argv, kScenarios); }
