// datagrams.cpp - UDP sockets: connected or not, errors, sizes, control data, multicast
#include <net/if.h>
#include <sys/ioctl.h>

#include <algorithm>

#include "scenario.h"

using namespace scenario;

namespace {

int bound_udp(Name address = mine()) {
  const int fd = udp();
  must("bind", bind(fd, plain(address), size(address)));
  set_timeout(fd, SO_RCVTIMEO, kLimitMs);
  return fd;
}

// Connected to the peer's slot; each knows the other.
int connected_udp(int slot = 0) {
  const int fd = udp();
  Name address = theirs(number(peer("udp %d", slot)));
  must("connect", connect(fd, plain(address), size(address)));
  set_timeout(fd, SO_RCVTIMEO, kLimitMs);
  return fd;
}

void said_datagram(const char* call, long result, const void* data, const Name& from,
                   socklen_t length) {
  said_data(call, result, data);
  if (result >= 0) note("from %s:%d length %u", ip_name(ip_of(from)), port_in(from) != 0, length);
}

void receive(int fd, int flags = 0, size_t room = 70000) {
  std::string buffer(room, '\0');
  Name from{};
  socklen_t length = size(from);
  const ssize_t got = recvfrom(fd, buffer.data(), room, flags, plain(from), &length);
  said_datagram("recvfrom", got, buffer.data(), from, length);
}

void unconnected() {
  const int fd = udp();
  said_sockname(fd);
  said_peername(fd);
  Name first = theirs(number(peer("udp 0")));
  Name second = theirs(number(peer("udp 1")));
  said("send", send(fd, "x", 1, 0));
  said("sendto", sendto(fd, "hello", 5, 0, plain(first), size(first)));
  said_sockname(fd);
  said("sendto", sendto(fd, "hello", 5, 0, plain(second), size(second)));
  peer_said("recvfrom 0");
  peer_said("recvfrom 1");
  note("one port for both: %d", number(peer("source")) == port_of(fd));
  for (const int slot : {0, 1}) {
    peer("sendto %d %d 20", slot, port_of(fd));
    receive(fd);
  }
  close(fd);
}

void connected() {
  const int fd = connected_udp();
  said_sockname(fd);
  said_peername(fd);
  ask("echo 0");
  said("send", send(fd, "hello", 5, 0));
  answer_said("echo");
  receive(fd);
  note("-- others are not heard");
  peer("udp 1");
  peer("sendto 1 %d 7", port_of(fd));
  peer("sendto 0 %d 9", port_of(fd));
  receive(fd);
  said("recv", recv(fd, nullptr, 0, MSG_DONTWAIT));
  note("-- write, read, writev, readv");
  char buffer[16];
  ask("echo 0");
  said("write", write(fd, "hello", 5));
  answer();
  said_data("read", read(fd, buffer, sizeof buffer), buffer);
  iovec pieces[2] = {{const_cast<char*>("ab"), 2}, {const_cast<char*>("cd"), 2}};
  ask("echo 0");
  said("writev", writev(fd, pieces, 2));
  answer();
  iovec rooms[2] = {{buffer, 1}, {buffer + 1, 15}};
  said_data("readv", readv(fd, rooms, 2), buffer);
  note("-- to another");
  Name other = theirs(number(peer("udp 2")));
  said("sendto", sendto(fd, "hello", 5, 0, plain(other), size(other)));
  peer_said("recvfrom 2");
  note("-- dissolved");
  Name none = no_name();
  said("connect AF_UNSPEC", connect(fd, plain(none), size(none)));
  said_peername(fd);
  said("send", send(fd, "x", 1, 0));
  said("connect to another", connect(fd, plain(other), size(other)));
  ask("echo 2");
  said("send", send(fd, "hello", 5, 0));
  answer_said("echo");
  receive(fd);
  close(fd);
}

// Whether a datagram is the socket's is said when it comes, not when it is received.
void came_before_connect() {
  const int fd = bound_udp();
  Name first = theirs(number(peer("udp 0")));
  peer("udp 1");
  char byte;
  said("recv", recv(fd, &byte, 1, MSG_DONTWAIT));
  peer("sendto 1 %d 7", port_of(fd));
  said("connect", connect(fd, plain(first), size(first)));
  receive(fd, MSG_DONTWAIT);
  note("-- and before it is dissolved");
  peer("sendto 1 %d 8", port_of(fd));
  peer("sendto 0 %d 9", port_of(fd));
  Name none = no_name();
  said("connect AF_UNSPEC", connect(fd, plain(none), size(none)));
  receive(fd, MSG_DONTWAIT);
  said("recv", recv(fd, &byte, 1, MSG_DONTWAIT));
  close(fd);
}

// The ICMP error meets a later call of a connected socket (udp(7)).
void refused() {
  const int fd = udp();
  Name closed = theirs(number(peer("closed_port 1")));
  said("connect", connect(fd, plain(closed), size(closed)));
  said("send", send(fd, "x", 1, 0));
  await(fd, POLLERR);
  char byte;
  said("recv", recv(fd, &byte, 1, MSG_DONTWAIT));
  said("recv", recv(fd, &byte, 1, MSG_DONTWAIT));
  said("send", send(fd, "x", 1, 0));
  await(fd, POLLERR);
  said_so_error(fd);
  said_so_error(fd);
  said_poll(fd);
  said("send", send(fd, "x", 1, 0));
  await(fd, POLLERR);
  said("send", send(fd, "x", 1, 0));
  close(fd);
  note("-- a blocked recv");
  const int other = udp();
  said("connect", connect(other, plain(closed), size(closed)));
  set_timeout(other, SO_RCVTIMEO, kLimitMs);
  said("send", send(other, "x", 1, 0));
  said("recv", recv(other, &byte, 1, 0));
  close(other);
}

// Whoever sends to a port whose only socket is connected to somebody else is refused.
void connected_to_another() {
  const int fd = connected_udp(0);
  const int port = port_of(fd);
  peer("udp 1");
  note("the other connects: %s", peer("connectudp 1 %d", port).c_str());
  for (const int bytes : {3, 1400}) {
    note("and sends: %s", peer("sendto 1 %d %d", port, bytes).c_str());
    peer_said("recvfrom 1");
  }
  peer("sendto 0 %d 5", port);
  receive(fd);
  close(fd);
}

// The error is there in far less than a millisecond, and the next send says so.
void refused_at_once() {
  const int fd = udp();
  Name closed = theirs(number(peer("closed_port 1")));
  said("connect", connect(fd, plain(closed), size(closed)));
  int refused = 0;
  for (int i = 0; i < 40; ++i) {
    if (send(fd, "x", 1, 0) < 0 && errno == ECONNREFUSED) ++refused;
    usleep(300);
  }
  note("every second one: %s", about(static_cast<size_t>(refused), 16, 20));
  close(fd);
}

void unconnected_is_not_refused() {
  const int fd = udp();
  Name closed = theirs(number(peer("closed_port 1")));
  said("sendto", sendto(fd, "x", 1, 0, plain(closed), size(closed)));
  Name open = theirs(number(peer("udp 0")));
  said("sendto", sendto(fd, "hello", 5, 0, plain(open), size(open)));
  peer_said("recvfrom 0");
  peer("sendto 0 %d 5", port_of(fd));
  set_timeout(fd, SO_RCVTIMEO, kLimitMs);
  receive(fd);
  said_poll(fd);
  close(fd);
}

void truncation() {
  const int fd = bound_udp();
  const int port = port_of(fd);
  peer("udp 0");
  char buffer[200] = {};
  iovec room{buffer, 5};
  msghdr header{};
  header.msg_iov = &room;
  header.msg_iovlen = 1;
  const auto next = [port] { peer("sendto 0 %d 100", port); };
  next();
  said_data("recv", recv(fd, buffer, 5, 0), buffer);
  next();
  said("recv TRUNC", recv(fd, buffer, 5, MSG_TRUNC));
  next();
  said_data("recvmsg", recvmsg(fd, &header, 0), buffer);
  note("flags %x", static_cast<unsigned>(header.msg_flags));
  next();
  said("recvmsg TRUNC", recvmsg(fd, &header, MSG_TRUNC));
  note("flags %x", static_cast<unsigned>(header.msg_flags));
  next();
  said("peek", recv(fd, buffer, 5, MSG_PEEK));
  said("peek TRUNC", recv(fd, nullptr, 0, MSG_PEEK | MSG_TRUNC));
  note("FIONREAD %d", unread(fd));
  said("recv 0", recv(fd, buffer, 0, 0));
  said("recv", recv(fd, buffer, 5, MSG_DONTWAIT));
  next();
  room.iov_len = sizeof buffer;
  said("recvmsg fits", recvmsg(fd, &header, 0));
  note("flags %x", static_cast<unsigned>(header.msg_flags));
  next();
  said("readv", readv(fd, &room, 1));
  close(fd);
}

void empty_datagrams() {
  const int fd = connected_udp();
  said("send", send(fd, nullptr, 0, 0));
  peer_said("recvfrom 0");
  said("write", write(fd, "", 0));
  peer("sendto 0 %d 0", port_of(fd));
  await(fd, POLLIN);
  note("FIONREAD %d", unread(fd));
  char byte;
  said("recv", recv(fd, &byte, 1, 0));
  said_poll(fd);
  said("recv", recv(fd, &byte, 1, MSG_DONTWAIT));
  iovec none{nullptr, 0};
  said("writev", writev(fd, &none, 1));
  peer_said("recvfrom 0");
  close(fd);
}

// Past the MTU the kernel makes and joins the fragments.
void all_sizes() {
  const int fd = connected_udp();
  for (const size_t bytes : {1U, 1452U, 1453U, 1472U, 1473U, 9000U, 65507U}) {
    const std::string data = pattern(bytes);
    ask("echo 0");
    said("send", send(fd, data.data(), data.size(), 0));
    answer_said("echo");
    receive(fd);
  }
  const std::string data = pattern(65508);
  said("too long", send(fd, data.data(), data.size(), 0));
  close(fd);
}

void flags_and_waits() {
  const int fd = bound_udp();
  const int port = port_of(fd);
  peer("udp 0");
  char buffer[64];
  said("DONTWAIT", recv(fd, buffer, 1, MSG_DONTWAIT));
  set_nonblocking(fd, true);
  said("O_NONBLOCK", recv(fd, buffer, 1, 0));
  set_nonblocking(fd, false);
  set_timeout(fd, SO_RCVTIMEO, 10);
  said("timeout", recv(fd, buffer, 1, 0));
  set_timeout(fd, SO_RCVTIMEO, kLimitMs);
  peer("sendto 0 %d 20", port);
  peer("sendto 0 %d 10", port);
  await(fd, POLLIN);
  said_data("peek", recv(fd, buffer, sizeof buffer, MSG_PEEK), buffer);
  note("FIONREAD %d", unread(fd));
  said_data("WAITALL", recv(fd, buffer, sizeof buffer, MSG_WAITALL), buffer);
  receive(fd);
  said("OOB", recv(fd, buffer, 1, MSG_OOB | MSG_DONTWAIT));
  said("ERRQUEUE", recv(fd, buffer, 1, MSG_ERRQUEUE));
  note("FIONREAD %d", unread(fd));
  note("-- a blocked recv");
  ssize_t got = 0;
  Worker worker([&] { got = recv(fd, buffer, sizeof buffer, 0); });
  worker.await_blocked();
  peer("sendto 0 %d 5", port);
  worker.join();
  said("recv", got);
  note("-- corked");
  Name address = theirs(number(peer("udp 1")));
  said("connect", connect(fd, plain(address), size(address)));
  said("send MORE", send(fd, "ab", 2, MSG_MORE));
  said("send", send(fd, "cd", 2, 0));
  peer_said("recvfrom 1");
  close(fd);
}

void several_at_once() {
  const int fd = connected_udp();
  constexpr int kCount = 4;
  char buffers[kCount][16] = {};
  iovec pieces[kCount];
  mmsghdr messages[kCount] = {};
  for (int i = 0; i < kCount; ++i) {
    snprintf(buffers[i], sizeof buffers[i], "datagram %d", i);
    pieces[i] = {buffers[i], 10};
    messages[i].msg_hdr.msg_iov = &pieces[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  said("sendmmsg", sendmmsg(fd, messages, kCount, 0));
  note("lengths %u %u", messages[0].msg_len, messages[kCount - 1].msg_len);
  for (int i = 0; i < kCount; ++i) peer_said("recvfrom 0");
  const auto fetch = [&](const char* what, int count, int flags, timespec* limit) {
    memset(buffers, 0, sizeof buffers);
    for (iovec& piece : pieces) piece.iov_len = sizeof buffers[0];
    said(what, recvmmsg(fd, messages, static_cast<unsigned>(count), flags, limit));
  };
  fetch("none", kCount, MSG_DONTWAIT, nullptr);
  for (int i = 0; i < kCount; ++i) peer("sendto 0 %d %d", port_of(fd), i + 1);
  fetch("all", kCount, 0, nullptr);
  for (const mmsghdr& one : messages) note("%u", one.msg_len);
  for (int i = 0; i < 2; ++i) peer("sendto 0 %d %d", port_of(fd), i + 1);
  await(fd, POLLIN);
  fetch("DONTWAIT", kCount, MSG_DONTWAIT, nullptr);
  peer("sendto 0 %d 3", port_of(fd));
  fetch("WAITFORONE", kCount, MSG_WAITFORONE, nullptr);
  // The time is looked at after each datagram only (recvmmsg(2), BUGS).
  timespec limit{0, 0};
  peer("sendto 0 %d 3", port_of(fd));
  peer("sendto 0 %d 3", port_of(fd));
  fetch("no time", kCount, 0, &limit);
  limit = {0, 2000000000};
  fetch("bad time", kCount, 0, &limit);
  limit = {3, 0};
  for (int i = 0; i < 2; ++i) peer("sendto 0 %d %d", port_of(fd), i + 1);
  fetch("some time", 2, 0, &limit);
  note("time was written back %d", limit.tv_sec < 3);
  close(fd);
}

// A socket on 0.0.0.0 hears loopback, its own address and the interface.
void heard_from_everywhere() {
  const int fd = bound_udp(anywhere());
  const int local = bound_udp(loopback());
  peer("udp 0");
  for (int round = 0; round < 3; ++round) {
    Name address = loopback(port_of(fd));
    said("sendto", sendto(local, "local", 5, 0, plain(address), size(address)));
    receive(fd);
    peer("sendto 0 %d 30", port_of(fd));
    receive(fd);
  }
  note("-- both wait");
  Name address = loopback(port_of(fd));
  said("sendto", sendto(local, "local", 5, 0, plain(address), size(address)));
  peer("sendto 0 %d 30", port_of(fd));
  int from_peer = 0;
  for (int i = 0; i < 2; ++i) {
    char buffer[64];
    Name from{};
    socklen_t length = size(from);
    recvfrom(fd, buffer, sizeof buffer, 0, plain(from), &length);
    from_peer += ip_of(from) == peer_ip;
  }
  note("one of them the peer's: %d", from_peer);
  said("recv", recv(fd, nullptr, 0, MSG_DONTWAIT));
  note("-- answers");
  Name back = loopback(port_of(local));
  said("sendto", sendto(fd, "back", 4, 0, plain(back), size(back)));
  receive(local);
  note("-- either wakes a blocked recv");
  for (const bool over_loopback : {true, false}) {
    char buffer[64];
    ssize_t got = 0;
    Worker worker([&] { got = recv(fd, buffer, sizeof buffer, 0); });
    worker.await_blocked();
    if (over_loopback) {
      sendto(local, "local", 5, 0, plain(address), size(address));
    } else {
      peer("sendto 0 %d 30", port_of(fd));
    }
    worker.join();
    said("recv", got);
  }
  close(fd);
  close(local);
}

void said_control(int fd) {
  char data[64];
  alignas(cmsghdr) char control[256];
  iovec room{data, sizeof data};
  msghdr header{};
  header.msg_iov = &room;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  said("recvmsg", recvmsg(fd, &header, 0));
  note("flags %x control %zu", static_cast<unsigned>(header.msg_flags), header.msg_controllen);
  const unsigned index = if_nametoindex("up0");
  for (cmsghdr* one = CMSG_FIRSTHDR(&header); one != nullptr; one = CMSG_NXTHDR(&header, one)) {
    std::string value;
    if (one->cmsg_level == IPPROTO_IP && one->cmsg_type == IP_PKTINFO) {
      in_pktinfo info;
      memcpy(&info, CMSG_DATA(one), sizeof info);
      value = std::string(ip_name(v4_ip(info.ipi_addr))) + " " + ip_name(v4_ip(info.ipi_spec_dst)) +
              (static_cast<unsigned>(info.ipi_ifindex) == index ? " interface" : " another");
    } else if (one->cmsg_level == IPPROTO_IP && one->cmsg_type == IP_TTL) {
      int ttl;
      memcpy(&ttl, CMSG_DATA(one), sizeof ttl);
      value = std::to_string(ttl);
    } else if (one->cmsg_level == IPPROTO_IP && one->cmsg_type == IP_TOS) {
      value = std::to_string(*CMSG_DATA(one));
    } else if (one->cmsg_level == SOL_SOCKET && one->cmsg_type == SO_TIMESTAMP) {
      timeval time;
      memcpy(&time, CMSG_DATA(one), sizeof time);
      timeval now;
      gettimeofday(&now, nullptr);
      value = std::to_string(now.tv_sec - time.tv_sec <= 5 && time.tv_sec <= now.tv_sec);
    } else if (one->cmsg_level == SOL_SOCKET && one->cmsg_type == SO_TIMESTAMPNS) {
      timespec time;
      memcpy(&time, CMSG_DATA(one), sizeof time);
      timespec now;
      clock_gettime(CLOCK_REALTIME, &now);
      value = std::to_string(now.tv_sec - time.tv_sec <= 5 && time.tv_sec <= now.tv_sec);
    }
    note("level %d type %d length %zu: %s", one->cmsg_level, one->cmsg_type, one->cmsg_len,
         value.c_str());
  }
}

void control_data() {
  const int fd = bound_udp(anywhere());
  peer("udp 0");
  const int port = port_of(fd);
  peer("sendto 0 %d 5", port);
  said_control(fd);
  set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
  peer("sendto 0 %d 5", port);
  said_control(fd);
  set_option(fd, SOL_SOCKET, SO_TIMESTAMP, 1);
  set_option(fd, IPPROTO_IP, IP_RECVTTL, 1);
  set_option(fd, IPPROTO_IP, IP_RECVTOS, 1);
  peer("sendto 0 %d 5", port);
  said_control(fd);
  set_option(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
  peer("sendto 0 %d 5", port);
  said_control(fd);
  const int local = bound_udp(loopback());
  Name address = loopback(port);
  sendto(local, "hello", 5, 0, plain(address), size(address));
  said_control(fd);
  close(local);
  note("-- no room");
  peer("sendto 0 %d 5", port);
  char data[8];
  alignas(cmsghdr) char control[64];
  for (const size_t room : {0U, 8U, 16U, 24U, 32U, 40U}) {
    peer("sendto 0 %d 5", port);
    iovec piece{data, sizeof data};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = room;
    recvmsg(fd, &header, 0);
    note("room %zu: flags %x control %zu", room, static_cast<unsigned>(header.msg_flags),
         header.msg_controllen);
  }
  close(fd);
}

// One control message, of `bytes` of which some may be missing: whether it was sent.
template <class T>
bool said_sent(const char* call, int fd, int type, T value, size_t bytes = sizeof(T)) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(T))] = {};
  iovec piece{const_cast<char*>("data"), 4};
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = CMSG_SPACE(bytes);
  const cmsghdr one{CMSG_LEN(bytes), IPPROTO_IP, type};
  memcpy(control, &one, sizeof one);
  memcpy(control + CMSG_LEN(0), &value, sizeof value);
  return said(call, sendmsg(fd, &header, 0)) >= 0;
}

// What asks for too much is refused, and what is allowed is sent.
void control_data_values() {
  const int port = number(peer("udp 1"));
  const int fd = udp();
  Name address = theirs(port);
  must("connect", connect(fd, plain(address), size(address)));
  int sent = 0;
  for (const int ttl : {0, 1, 255, 256, -1}) sent += said_sent("ttl", fd, IP_TTL, ttl);
  sent += said_sent("ttl in a byte", fd, IP_TTL, uint8_t{5});
  for (const int tos : {0, 8, 255, 256, -1}) sent += said_sent("tos", fd, IP_TOS, tos);
  sent += said_sent("tos in a byte", fd, IP_TOS, uint8_t{16});
  sent += said_sent("tos cut short", fd, IP_TOS, 8, 2);
  sent += said_sent("nothing in it", fd, IP_TTL, 8, 0);
  in_pktinfo info{};
  sent += said_sent("no source", fd, IP_PKTINFO, info);
  info.ipi_spec_dst = to_v4(my_ip);
  sent += said_sent("own source", fd, IP_PKTINFO, info);
  info.ipi_spec_dst = to_v4(peer_ip);
  sent += said_sent("the peer's source", fd, IP_PKTINFO, info);
  info = {99, {}, {}};
  sent += said_sent("no such interface", fd, IP_PKTINFO, info);
  info = {1, {}, {}};
  said_sent("loopback's interface", fd, IP_PKTINFO, info);  // nobody hears it
  sent += said_sent("a short pktinfo", fd, IP_PKTINFO, info, 8);
  for (; sent > 0; --sent) {
    peer_said("echo 1");
    receive(fd);
  }
  close(fd);
}

// The source address of an answer is chosen by control data.
void control_data_sent() {
  const int fd = bound_udp(anywhere());
  Name address = theirs(number(peer("udp 0")));
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(in_pktinfo))] = {};
  char text[] = "hello";
  iovec piece{text, 5};
  msghdr header{};
  header.msg_name = &address;
  header.msg_namelen = size(address);
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  cmsghdr* one = CMSG_FIRSTHDR(&header);
  one->cmsg_level = IPPROTO_IP;
  one->cmsg_type = IP_PKTINFO;
  one->cmsg_len = CMSG_LEN(sizeof(in_pktinfo));
  in_pktinfo info{};
  info.ipi_spec_dst = to_v4(my_ip);
  memcpy(CMSG_DATA(one), &info, sizeof info);
  said("sendmsg", sendmsg(fd, &header, 0));
  peer_said("recvfrom 0");
  note("from the bound port: %d", number(peer("source")) == port_of(fd));
  one->cmsg_type = 99;
  said("unknown control", sendmsg(fd, &header, 0));
  peer("sendto 0 %d 5", port_of(fd));
  receive(fd);
  close(fd);
}

void broadcast() {
  const int fd = udp();
  Name address = at(neighbour_of(peer_ip, 255), 9999);
  said("forbidden", sendto(fd, "x", 1, 0, plain(address), size(address)));
  set_option(fd, SOL_SOCKET, SO_BROADCAST, 1);
  said("allowed", sendto(fd, "x", 1, 0, plain(address), size(address)));
  address = at(from_v4(INADDR_BROADCAST), 9999);
  said("without a route", sendto(fd, "x", 1, 0, plain(address), size(address)));
  Name known = theirs(number(peer("udp 0")));
  said("sendto", sendto(fd, "hello", 5, 0, plain(known), size(known)));
  peer_said("recvfrom 0");
  peer("sendto 0 %d 5", port_of(fd));
  receive(fd);
  close(fd);
}

// Joined groups are the kernel's; the socket hears them beside the rest.
void multicast() {
  const int fd = bound_udp(anywhere());
  ip_mreqn request{};
  request.imr_multiaddr.s_addr = htonl(0xe8010203);
  request.imr_address = to_v4(my_ip);
  const bool joined =
      said("join", setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request)) == 0;
  said("join again", setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request));
  said("interface", setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof request));
  uint8_t ttl = 1;
  said("ttl", setsockopt(fd, IPPROTO_IP, IP_MULTICAST_TTL, &ttl, sizeof ttl));
  Name group = at(v4_ip(request.imr_multiaddr), port_of(fd));
  said("sendto", sendto(fd, "to the group", 12, 0, plain(group), size(group)));
  if (joined) receive(fd);
  peer("udp 0");
  peer("sendto 0 %d 5", port_of(fd));
  receive(fd);
  ip_mreq old{request.imr_multiaddr, to_v4(my_ip)};
  said("leave", setsockopt(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &old, sizeof old));
  said("leave again", setsockopt(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &old, sizeof old));
  close(fd);
}

void shut_down() {
  const int fd = udp();
  said("unconnected", shutdown(fd, SHUT_RD));
  close(fd);
  const int other = connected_udp();
  said("SHUT_WR", shutdown(other, SHUT_WR));
  said("send", send(other, "x", 1, MSG_NOSIGNAL));
  said_poll(other);
  peer("sendto 0 %d 5", port_of(other));
  receive(other);
  char byte;
  long result = -2;
  {
    Worker worker([&] { result = recv(other, &byte, 1, 0); });
    worker.await_blocked();
    said("SHUT_RD", shutdown(other, SHUT_RD));
    worker.join();
  }
  said("blocked recv", result);
  said_poll(other);
  said("recv", recv(other, &byte, 1, 0));
  close(other);
}

void refusals() {
  const int fd = udp();
  Name address = theirs(number(peer("udp 0")));
  Name wrong = address;
  set_port(wrong, 0);
  said("port 0", sendto(fd, "x", 1, 0, plain(wrong), size(wrong)));
  said("no address", send(fd, "x", 1, 0));
  said("short address", sendto(fd, "x", 1, 0, plain(address), 4));
  wrong = address;
  wrong.any.sa_family = another_family();
  said("family", sendto(fd, "x", 1, 0, plain(wrong), size(wrong)));
  said("bad address", sendto(fd, "x", 1, 0, static_cast<sockaddr*>(bad_pointer()), 16));
  said("bad data", sendto(fd, bad_pointer(), 5, 0, plain(address), size(address)));
  said("OOB", sendto(fd, "x", 1, MSG_OOB, plain(address), size(address)));
  wrong = nowhere();
  said("no route", sendto(fd, "x", 1, 0, plain(wrong), size(wrong)));
  said("no route", connect(fd, plain(wrong), size(wrong)));
  said("sendto", sendto(fd, "hello", 5, 0, plain(address), size(address)));
  peer_said("recvfrom 0");
  peer("sendto 0 %d 5", port_of(fd));
  await(fd, POLLIN);
  said("recv bad", recv(fd, bad_pointer(), 5, 0));
  close(fd);
  const int first = bound_udp();
  const int second = udp();
  Name used = mine(port_of(first));
  said("used port", bind(second, plain(used), size(used)));
  close(first);
  said("free again", bind(second, plain(used), size(used)));
  close(second);
}

void waits_for_datagrams() {
  const int fd = bound_udp();
  peer("udp 0");
  const int epoll = epoll_create1(0);
  epoll_event event{EPOLLIN | EPOLLOUT | EPOLLET, {}};
  const auto wait = [&](int limit_ms) {
    epoll_event got{};
    const int count = epoll_wait(epoll, &got, 1, limit_ms);
    note("epoll_wait = %d %s", count, event_names(count > 0 ? got.events : 0).c_str());
  };
  said("add", epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
  wait(0);
  wait(0);
  peer("sendto 0 %d 5", port_of(fd));
  wait(kLimitMs);
  wait(0);
  peer("sendto 0 %d 5", port_of(fd));
  wait(kLimitMs);
  receive(fd);
  receive(fd);
  event.events = EPOLLIN;
  said("mod", epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event));
  wait(0);
  peer("sendto 0 %d 5", port_of(fd));
  wait(kLimitMs);
  wait(0);
  receive(fd);
  wait(0);
  said_poll(fd);
  fd_set in;
  FD_ZERO(&in);
  FD_SET(fd, &in);
  peer("sendto 0 %d 5", port_of(fd));
  timeval limit{5, 0};
  said("select", select(fd + 1, &in, nullptr, nullptr, &limit));
  close(epoll);
  close(fd);
}

void two_sockets_of_one_port() {
  const int first = udp();
  const int second = udp();
  set_option(first, SOL_SOCKET, SO_REUSEADDR, 1);
  set_option(second, SOL_SOCKET, SO_REUSEADDR, 1);
  Name address = mine();
  said("bind", bind(first, plain(address), size(address)));
  address = mine(port_of(first));
  said("bind", bind(second, plain(address), size(address)));
  peer("udp 0");
  peer("sendto 0 %d 5", port_of(first));
  const bool came = eventually(
      [&] { return (poll_now(first) & POLLIN) != 0 || (poll_now(second) & POLLIN) != 0; });
  note("one of them heard it: %d", came);
  close(first);
  close(second);
}

void small_receive_buffer() {
  const int fd = bound_udp();
  set_option(fd, SOL_SOCKET, SO_RCVBUF, 4096);
  peer("udp 0");
  for (int i = 0; i < 100; ++i) peer("sendto 0 %d 1000", port_of(fd));
  await(fd, POLLIN);
  int count = 0;
  char buffer[2000];
  while (recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) == 1000) ++count;
  note("some were dropped: %d, some kept: %d", count<100, count> 0);
  peer("sendto 0 %d 7", port_of(fd));
  receive(fd);
  close(fd);
}

void a_burst_in_order() {
  const int fd = connected_udp();
  for (int i = 0; i < 100; ++i) peer("sendto 0 %d %d", port_of(fd), i + 1);
  bool fine = true;
  char buffer[200];
  for (int i = 0; i < 100; ++i) fine = fine && recv(fd, buffer, sizeof buffer, 0) == i + 1;
  note("in order: %d", fine);
  for (int i = 0; i < 100; ++i) fine = fine && send(fd, buffer, static_cast<size_t>(i), 0) == i;
  note("sent: %d", fine);
  for (int i = 0; i < 100; ++i) fine = fine && number(peer("recvfrom 0")) == i;
  note("received: %d", fine);
  close(fd);
}

void bind_variants() {
  const int fd = udp();
  Name address = anywhere();
  said("bind any", bind(fd, plain(address), size(address)));
  said_sockname(fd);
  said("bind again", bind(fd, plain(address), size(address)));
  Name known = theirs(number(peer("udp 0")));
  said("connect", connect(fd, plain(known), size(known)));
  said_sockname(fd);
  ask("echo 0");
  said("send", send(fd, "hello", 5, 0));
  answer_said("echo");
  receive(fd, MSG_WAITALL);
  close(fd);
  const int local = udp();
  address = loopback();
  said("bind loopback", bind(local, plain(address), size(address)));
  said("send from loopback", sendto(local, "x", 1, 0, plain(known), size(known)));
  close(local);
}

// Not by port 0: connect(2) gives back a port that bind(2) has chosen.
int bound_to_some_port(Name address) {
  for (uint16_t port = 30000;; ++port) {
    const int fd = udp();
    set_port(address, port);
    if (bind(fd, plain(address), size(address)) == 0) {
      set_timeout(fd, SO_RCVTIMEO, kLimitMs);
      return fd;
    }
    close(fd);
  }
}

void dissolve(int fd) {
  Name none = no_name();
  said("connect AF_UNSPEC", connect(fd, plain(none), size(none)));
  said_sockname(fd);
}

// connect(2) with AF_UNSPEC gives back what connect has chosen: the address, and the port if the
// socket never was bound.
void dissolved() {
  note("-- never bound");
  int fd = connected_udp();
  const int port = port_of(fd);
  peer("sendto 0 %d 20", port);
  await(fd, POLLIN);
  dissolve(fd);
  const int other = bound_udp(mine(port));
  peer("sendto 0 %d 30", port);
  receive(other);
  note("-- what had come");
  receive(fd);
  said("recv", recv(fd, nullptr, 0, MSG_DONTWAIT));
  said("send", send(fd, "x", 1, 0));
  note("-- a new port");
  Name known = theirs(number(peer("udp 1")));
  said("sendto", sendto(fd, "hello", 5, 0, plain(known), size(known)));
  peer_said("recvfrom 1");
  said_sockname(fd);
  note("another: %d", port_of(fd) != port);
  peer("sendto 1 %d 40", port_of(fd));
  receive(fd);
  close(other);
  close(fd);
  note("-- connected once more");
  fd = connected_udp(2);
  dissolve(fd);
  said("connect", connect(fd, plain(known), size(known)));
  said_sockname(fd);
  ask("echo 1");
  said("send", send(fd, "hello", 5, 0));
  answer_said("echo");
  receive(fd);
  close(fd);
  note("-- bound to an address");
  fd = bound_to_some_port(mine());
  must("connect", connect(fd, plain(known), size(known)));
  dissolve(fd);
  peer("sendto 0 %d 50", port_of(fd));
  receive(fd);
  close(fd);
}

void dissolved_on_two_addresses() {
  const int fd = bound_to_some_port(anywhere());
  Name known = theirs(number(peer("udp 0")));
  peer("udp 1");
  for (int round = 0; round < 2; ++round) {
    must("connect", connect(fd, plain(known), size(known)));
    said_sockname(fd);
    peer("sendtosecond 0 %d 10", port_of(fd));
    peer("sendto 0 %d 20", port_of(fd));
    receive(fd);
    dissolve(fd);
    peer("sendto 1 %d 30", port_of(fd));
    receive(fd);
    peer("sendtosecond 1 %d 40", port_of(fd));
    receive(fd);
  }
  close(fd);
}

// Who waits on a socket without a port hears what comes when it has one.
void waits_without_a_port() {
  const int fd = udp();
  char buffer[16];
  said("recv", recv(fd, buffer, sizeof buffer, MSG_DONTWAIT));
  said_sockname(fd);
  set_timeout(fd, SO_RCVTIMEO, 20);
  said("recv", recv(fd, buffer, sizeof buffer, 0));
  said_sockname(fd);
  set_timeout(fd, SO_RCVTIMEO, 0);
  ssize_t got = 0;
  Worker worker([&] { got = recv(fd, buffer, sizeof buffer, 0); });
  worker.await_blocked();
  Name known = theirs(number(peer("udp 0")));
  said("sendto", sendto(fd, "hello", 5, 0, plain(known), size(known)));
  peer_said("echo 0");
  worker.join();
  said_data("recv", got, buffer);
  close(fd);
}

// SO_REUSEPORT: each of the sockets gets some of the remotes, and always the same ones.
void shared_port() {
  int fds[2];
  int port = 0;
  for (int& fd : fds) {
    fd = udp();
    set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    Name address = anywhere(port);
    must("bind", bind(fd, plain(address), size(address)));
    port = port_of(fd);
  }
  constexpr int kRemotes = 24;
  int got[2] = {};
  int strangers = 0;
  for (int i = 0; i < kRemotes; ++i) {
    peer("udp %d", i);
    int first = -1;
    for (int round = 0; round < 2; ++round) {
      peer("sendto %d %d 10", i, port);
      pollfd both[2] = {{fds[0], POLLIN, 0}, {fds[1], POLLIN, 0}};
      poll(both, 2, kLimitMs);
      const int who = (both[0].revents & POLLIN) != 0 ? 0 : 1;
      char buffer[16];
      if (recv(fds[who], buffer, sizeof buffer, MSG_DONTWAIT) == 10) ++got[who];
      if (round == 1 && who != first) ++strangers;
      first = who;
    }
  }
  note("%d datagrams, each has some: %d, from another's remotes: %d", got[0] + got[1],
       got[0] > 0 && got[1] > 0, strangers);
  note("-- one of them gone");
  close(fds[1]);
  set_timeout(fds[0], SO_RCVTIMEO, kLimitMs);
  for (int i = 0; i < 8; ++i) {
    peer("sendto %d %d 10", i, port);
    receive(fds[0]);
  }
  close(fds[0]);
}

// SO_REUSEADDR: the last one that was bound gets all.
void reused_address() {
  int fds[3];
  int port = 0;
  for (int& fd : fds) {
    fd = udp();
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    Name address = anywhere(port);
    must("bind", bind(fd, plain(address), size(address)));
    set_timeout(fd, SO_RCVTIMEO, kLimitMs);
    port = port_of(fd);
  }
  for (int i = 0; i < 4; ++i) {
    peer("udp %d", i);
    peer("sendto %d %d 10", i, port);
    receive(fds[2]);
  }
  note("-- the last one gone");
  close(fds[2]);
  peer("sendto 0 %d 10", port);
  receive(fds[1]);
  close(fds[0]);
  close(fds[1]);
}

// Datagrams to a host that does not answer fill the send buffer: who sends waits, nobody else.
void full_kernel_buffer() {
  const int port = number(peer("listen 0"));
  const int stream = tcp();
  Name server = theirs(port);
  must("connect", connect(stream, plain(server), size(server)));
  peer("accept 0 1");
  const int fd = udp();
  set_option(fd, SOL_SOCKET, SO_SNDBUF, 1);
  Name address = nobody();
  const std::string data = pattern(1400);
  auto send_one = [&](int flags) {
    return sendto(fd, data.data(), data.size(), flags, plain(address), size(address));
  };
  while (send_one(MSG_DONTWAIT) >= 0) continue;
  said("MSG_DONTWAIT", send_one(MSG_DONTWAIT));
  set_nonblocking(fd, true);
  said("O_NONBLOCK", send_one(0));
  set_nonblocking(fd, false);
  set_timeout(fd, SO_SNDTIMEO, 20);
  said("SO_SNDTIMEO", send_one(0));
  set_timeout(fd, SO_SNDTIMEO, 0);
  ssize_t sent = 0;
  Worker worker([&] { sent = send_one(0); });
  worker.await_blocked();
  char buffer[16];
  said("send", send(stream, "hello", 5, 0));
  peer_said("recv 1 5");
  ask("text 1 world");
  said_data("recv", recv(stream, buffer, 5, MSG_WAITALL), buffer);
  answer_said("text");
  note("still waits: %d", !worker.done());
  worker.join();
  said("sendto", sent);
  close(fd);
  close(stream);
}

constexpr Scenario kScenarios[] = {
    {"unconnected", Proof::kUdp, unconnected},
    {"connected", Proof::kUdp, connected},
    {"came_before_connect", Proof::kUdp, came_before_connect},
    {"connected_to_another", Proof::kUdp, connected_to_another},
    {"refused", Proof::kNone, refused},
    {"refused_at_once", Proof::kNone, refused_at_once},
    {"unconnected_is_not_refused", Proof::kUdp, unconnected_is_not_refused},
    {"truncation", Proof::kUdp, truncation},
    {"empty_datagrams", Proof::kUdp, empty_datagrams},
    {"all_sizes", Proof::kUdp, all_sizes},
    {"flags_and_waits", Proof::kUdp, flags_and_waits},
    {"several_at_once", Proof::kUdp, several_at_once},
    {"heard_from_everywhere", Proof::kUdp, heard_from_everywhere},
    {"control_data", Proof::kUdp, control_data},
    {"control_data_sent", Proof::kUdp, control_data_sent},
    {"control_data_values", Proof::kUdp, control_data_values},
    {"broadcast", Proof::kUdp, broadcast},
    {"multicast", Proof::kUdp, multicast},
    {"shut_down", Proof::kUdp, shut_down},
    {"refusals", Proof::kUdp, refusals},
    {"waits_for_datagrams", Proof::kUdp, waits_for_datagrams},
    {"two_sockets_of_one_port", Proof::kNone, two_sockets_of_one_port},
    {"small_receive_buffer", Proof::kUdp, small_receive_buffer},
    {"a_burst_in_order", Proof::kUdp, a_burst_in_order},
    {"bind_variants", Proof::kUdp, bind_variants},
    {"dissolved", Proof::kUdp, dissolved},
    {"dissolved_on_two_addresses", Proof::kUdp, dissolved_on_two_addresses},
    {"waits_without_a_port", Proof::kUdp, waits_without_a_port},
    {"shared_port", Proof::kUdp, shared_port},
    {"reused_address", Proof::kUdp, reused_address},
    {"full_kernel_buffer", Proof::kTcp, full_kernel_buffer},
};

}  // namespace

int main(int argc, char** argv) { return scenario::main(argc, argv, kScenarios); }
