// multicast.cpp - groups of IPv4: every way to join and to leave, who gets what, and what comes
// with it
#include <net/if.h>

#include "scenario.h"

using namespace scenario;

namespace {

// Of source-specific multicast (RFC 4607), so that sources may be chosen.
const in_addr kGroup{htonl(0xe8010203)};

int interface_index() {
  // The interface of the scenario is the one that is not the loopback.
  for (int index = 1; index < 100; ++index) {
    char name[IF_NAMESIZE];
    if (if_indextoname(static_cast<unsigned>(index), name) != nullptr && strcmp(name, "lo") != 0) {
      return index;
    }
  }
  return 0;
}

int member(bool shared = false) {
  const int fd = udp();
  if (shared) set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  Name own = anywhere();
  must("bind", bind(fd, plain(own), size(own)));
  set_timeout(fd, SO_RCVTIMEO, 200);
  return fd;
}

group_req group_request() {
  group_req request{};
  request.gr_interface = static_cast<uint32_t>(interface_index());
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr = kGroup;
  memcpy(&request.gr_group, &address, sizeof address);
  return request;
}

group_source_req source_request() {
  const group_req group = group_request();
  group_source_req request{};
  request.gsr_interface = group.gr_interface;
  request.gsr_group = group.gr_group;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr = to_v4(peer_ip);
  memcpy(&request.gsr_source, &address, sizeof address);
  return request;
}

template <class Value>
int set_ip(int fd, int name, const Value& value) {
  return setsockopt(fd, IPPROTO_IP, name, &value, sizeof value);
}

void from_the_peer(int fd) {
  char buffer[64];
  peer("sendgroup 0 %d 5", port_of(fd));
  said("from the group", recv(fd, buffer, sizeof buffer, 0));
  peer("sendto 0 %d 7", port_of(fd));
  said("from the peer", recv(fd, buffer, sizeof buffer, 0));
}

void every_way_to_join() {
  peer("udp 0");
  const int fd = member();
  note("-- not a member");
  from_the_peer(fd);
  note("-- ip_mreq");
  const ip_mreq old{kGroup, to_v4(my_ip)};
  said("join", set_ip(fd, IP_ADD_MEMBERSHIP, old));
  from_the_peer(fd);
  said("leave", set_ip(fd, IP_DROP_MEMBERSHIP, old));
  from_the_peer(fd);
  note("-- ip_mreqn");
  const ip_mreqn indexed{kGroup, {}, interface_index()};
  said("join", set_ip(fd, IP_ADD_MEMBERSHIP, indexed));
  from_the_peer(fd);
  said("leave", set_ip(fd, IP_DROP_MEMBERSHIP, indexed));
  note("-- group_req");
  said("join", set_ip(fd, MCAST_JOIN_GROUP, group_request()));
  said("join again", set_ip(fd, MCAST_JOIN_GROUP, group_request()));
  from_the_peer(fd);
  said("block", set_ip(fd, MCAST_BLOCK_SOURCE, source_request()));
  from_the_peer(fd);
  said("unblock", set_ip(fd, MCAST_UNBLOCK_SOURCE, source_request()));
  from_the_peer(fd);
  said("leave", set_ip(fd, MCAST_LEAVE_GROUP, group_request()));
  said("leave again", set_ip(fd, MCAST_LEAVE_GROUP, group_request()));
  note("-- one source");
  said("join", set_ip(fd, MCAST_JOIN_SOURCE_GROUP, source_request()));
  from_the_peer(fd);
  said("leave", set_ip(fd, MCAST_LEAVE_SOURCE_GROUP, source_request()));
  const ip_mreq_source another{kGroup, to_v4(my_ip), {htonl(0x0a0a0a0a)}};
  said("join another's", set_ip(fd, IP_ADD_SOURCE_MEMBERSHIP, another));
  from_the_peer(fd);
  close(fd);
}

void what_comes_with_it() {
  peer("udp 0");
  const int fd = member();
  const ip_mreqn indexed{kGroup, {}, interface_index()};
  must("join", set_ip(fd, IP_ADD_MEMBERSHIP, indexed));
  set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
  set_option(fd, IPPROTO_IP, IP_RECVTTL, 1);
  set_option(fd, SOL_SOCKET, SO_TIMESTAMP, 1);
  for (const char* verb : {"sendgroup", "sendto"}) {
    peer("%s 0 %d 5", verb, port_of(fd));
    char bytes[16];
    char control[256] = {};
    iovec piece{bytes, sizeof bytes};
    sockaddr_in from{};
    msghdr header{};
    header.msg_name = &from;
    header.msg_namelen = sizeof from;
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    said(verb, recvmsg(fd, &header, 0));
    note("from the peer %d control %zu", from.sin_addr.s_addr == to_v4(peer_ip).s_addr,
         header.msg_controllen);
    for (cmsghdr* at = CMSG_FIRSTHDR(&header); at != nullptr; at = CMSG_NXTHDR(&header, at)) {
      note("level %d type %d length %zu", at->cmsg_level, at->cmsg_type, at->cmsg_len);
      if (at->cmsg_level != IPPROTO_IP || at->cmsg_type != IP_PKTINFO) continue;
      in_pktinfo info{};
      memcpy(&info, CMSG_DATA(at), sizeof info);
      note("to the group %d, interface %d, local is mine %d", info.ipi_addr.s_addr == kGroup.s_addr,
           info.ipi_ifindex == interface_index(), info.ipi_spec_dst.s_addr == to_v4(my_ip).s_addr);
    }
  }
  close(fd);
}

// Nothing else comes: the frames of the group are those that the test counts.
void directly() {
  peer("udp 0");
  const int fd = member();
  const ip_mreqn indexed{kGroup, {}, interface_index()};
  const ip_mreqn another{{htonl(0xe8010204)}, {}, interface_index()};
  must("join", set_ip(fd, IP_ADD_MEMBERSHIP, indexed));
  must("join", set_ip(fd, IP_ADD_MEMBERSHIP, another));
  char buffer[2000];
  for (int i = 0; i < 3; ++i) {
    peer("sendgroup 0 %d 5", port_of(fd));
    sockaddr_in from{};
    socklen_t length = sizeof from;
    said("recvfrom",
         recvfrom(fd, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &length));
    note("from the peer %d", from.sin_addr.s_addr == to_v4(peer_ip).s_addr);
  }
  note("-- in pieces");
  peer("sendgroup 0 %d 1900", port_of(fd));
  said("recv", recv(fd, buffer, sizeof buffer, 0));
  note("-- connected to the sender, and to nobody again");
  const int own_port = port_of(fd);
  Name sender = theirs(7);
  said("connect", connect(fd, plain(sender), size(sender)));
  peer("sendgroup 0 %d 5", own_port);
  said("recv", recv(fd, buffer, sizeof buffer, 0));
  Name none = no_name();
  said("dissolve", connect(fd, plain(none), size(none)));
  peer("sendgroup 0 %d 5", own_port);
  said("recv", recv(fd, buffer, sizeof buffer, 0));
  note("-- others may have the port, too");
  set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  const int other = udp();
  set_option(other, SOL_SOCKET, SO_REUSEADDR, 1);
  Name same = anywhere(own_port);
  said("bind", bind(other, plain(same), size(same)));
  set_timeout(other, SO_RCVTIMEO, 200);
  peer("sendgroup 0 %d 5", own_port);
  for (const int one : {fd, other}) said("recv", recv(one, buffer, sizeof buffer, 0));
  close(other);
  close(fd);
  note("-- closed, and the port is another's");
  const int alone = member();
  const int port = port_of(alone);
  must("join", set_ip(alone, IP_ADD_MEMBERSHIP, indexed));
  close(alone);
  const int next = udp();
  set_option(next, SOL_SOCKET, SO_REUSEADDR, 1);
  Name again = anywhere(port);
  must("bind", bind(next, plain(again), size(again)));
  must("join", set_ip(next, IP_ADD_MEMBERSHIP, indexed));
  set_timeout(next, SO_RCVTIMEO, 200);
  peer("sendgroup 0 %d 5", port);
  said("recv", recv(next, buffer, sizeof buffer, 0));
  close(next);
}

void two_members() {
  peer("udp 0");
  const int one = member(true);
  const int other = udp();
  set_option(other, SOL_SOCKET, SO_REUSEADDR, 1);
  Name same = anywhere(port_of(one));
  must("bind", bind(other, plain(same), size(same)));
  set_timeout(other, SO_RCVTIMEO, 200);
  const ip_mreqn indexed{kGroup, {}, interface_index()};
  for (const int fd : {one, other}) must("join", set_ip(fd, IP_ADD_MEMBERSHIP, indexed));
  peer("sendgroup 0 %d 5", port_of(one));
  char buffer[16];
  for (const int fd : {one, other}) said("recv", recv(fd, buffer, sizeof buffer, 0));
  note("-- whoever is on the host, or who has joined");
  must("leave", set_ip(other, IP_DROP_MEMBERSHIP, indexed));
  peer("sendgroup 0 %d 5", port_of(one));
  for (const int fd : {one, other}) said("recv", recv(fd, buffer, sizeof buffer, 0));
  set_option(other, IPPROTO_IP, IP_MULTICAST_ALL, 0);
  peer("sendgroup 0 %d 5", port_of(one));
  for (const int fd : {one, other}) said("recv", recv(fd, buffer, sizeof buffer, 0));
  close(one);
  close(other);
}

void bound_to_the_group() {
  peer("udp 0");
  const int fd = udp();
  sockaddr_in group{};
  group.sin_family = AF_INET;
  group.sin_addr = kGroup;
  must("bind", bind(fd, reinterpret_cast<sockaddr*>(&group), sizeof group));
  set_timeout(fd, SO_RCVTIMEO, 200);
  const ip_mreqn indexed{kGroup, {}, interface_index()};
  said("join", set_ip(fd, IP_ADD_MEMBERSHIP, indexed));
  from_the_peer(fd);
  close(fd);
}

void sent_to_the_group() {
  const int fd = member();
  const ip_mreqn indexed{kGroup, {}, interface_index()};
  must("join", set_ip(fd, IP_ADD_MEMBERSHIP, indexed));
  must("interface", set_ip(fd, IP_MULTICAST_IF, indexed));
  char buffer[16];
  Name group = at(v4_ip(kGroup), port_of(fd));
  said("sendto", sendto(fd, "hello", 5, 0, plain(group), size(group)));
  said("comes back", recv(fd, buffer, sizeof buffer, 0));
  set_option(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 0);
  said("sendto", sendto(fd, "hello", 5, 0, plain(group), size(group)));
  said("does not", recv(fd, buffer, sizeof buffer, 0));
  said("connect", connect(fd, plain(group), size(group)));
  said("send", send(fd, "hello", 5, 0));
  close(fd);
}

constexpr Scenario kScenarios[] = {
    {"multicast_ways_to_join", Proof::kUdp, every_way_to_join},
    {"multicast_control_data", Proof::kUdp, what_comes_with_it},
    {"multicast_directly", Proof::kUdp, directly},
    {"multicast_two_members", Proof::kNone, two_members},
    {"multicast_bound_to_the_group", Proof::kNone, bound_to_the_group},
    {"multicast_sent", Proof::kNone, sent_to_the_group},
};

}  // namespace

int main(int argc, char** argv) { return scenario::main(argc, argv, kScenarios); }
