// options.cpp - setsockopt and getsockopt: what is set is read back, in every state of a socket
#include <algorithm>

#include "scenario.h"

using namespace scenario;

namespace {

struct Option {
  const char* name;
  int level;
  int option;
  int value;  // to set; -1: only read
};

constexpr Option kOptions[] = {
    {"SO_TYPE", SOL_SOCKET, SO_TYPE, -1},
    {"SO_DOMAIN", SOL_SOCKET, SO_DOMAIN, -1},
    {"SO_PROTOCOL", SOL_SOCKET, SO_PROTOCOL, -1},
    {"SO_ACCEPTCONN", SOL_SOCKET, SO_ACCEPTCONN, -1},
    {"SO_ERROR", SOL_SOCKET, SO_ERROR, -1},
    {"SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR, 1},
    {"SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, 1},
    {"SO_OOBINLINE", SOL_SOCKET, SO_OOBINLINE, 1},
    {"SO_DONTROUTE", SOL_SOCKET, SO_DONTROUTE, 0},
    {"SO_BROADCAST", SOL_SOCKET, SO_BROADCAST, 1},
    {"SO_PRIORITY", SOL_SOCKET, SO_PRIORITY, 3},
    {"SO_RCVLOWAT", SOL_SOCKET, SO_RCVLOWAT, 1},
    {"SO_SNDLOWAT", SOL_SOCKET, SO_SNDLOWAT, -1},
    {"SO_TIMESTAMP", SOL_SOCKET, SO_TIMESTAMP, 0},
    {"SO_BUSY_POLL", SOL_SOCKET, SO_BUSY_POLL, 0},
    {"SO_PEEK_OFF", SOL_SOCKET, SO_PEEK_OFF, -1},
    {"TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, 1},
    {"TCP_CORK", IPPROTO_TCP, TCP_CORK, 0},
    {"TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, 60},
    {"TCP_KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL, 7},
    {"TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT, 4},
    {"TCP_SYNCNT", IPPROTO_TCP, TCP_SYNCNT, 3},
    {"TCP_LINGER2", IPPROTO_TCP, TCP_LINGER2, 10},
    {"TCP_DEFER_ACCEPT", IPPROTO_TCP, TCP_DEFER_ACCEPT, 0},
    {"TCP_QUICKACK", IPPROTO_TCP, TCP_QUICKACK, 1},
    {"TCP_USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT, 10000},
    {"TCP_NOTSENT_LOWAT", IPPROTO_TCP, TCP_NOTSENT_LOWAT, 1 << 20},
    {"IP_TOS", IPPROTO_IP, IP_TOS, 0x10},
    {"IP_TTL", IPPROTO_IP, IP_TTL, 70},
    {"IP_MTU_DISCOVER", IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO},
    {"IP_RECVERR", IPPROTO_IP, IP_RECVERR, 0},
    {"IP_PKTINFO", IPPROTO_IP, IP_PKTINFO, 1},
    {"IP_RECVTTL", IPPROTO_IP, IP_RECVTTL, 0},
    {"IP_FREEBIND", IPPROTO_IP, IP_FREEBIND, 0},
    {"IP_BIND_ADDRESS_NO_PORT", IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 0},
};

void said_option(int fd, const Option& one) {
  int value = -1;
  socklen_t length = sizeof value;
  const int result = getsockopt(fd, one.level, one.option, &value, &length);
  if (result != 0) {
    said(one.name, result);
  } else {
    note("%s %d length %u", one.name, value, length);
  }
}

void read_and_set_all(int fd) {
  note("-- as it is");
  for (const Option& one : kOptions) said_option(fd, one);
  note("-- set and read back");
  for (const Option& one : kOptions) {
    if (one.value < 0) continue;
    said(one.name, setsockopt(fd, one.level, one.option, &one.value, sizeof one.value));
    said_option(fd, one);
  }
}

void all_of_a_fresh_socket() {
  const int fd = tcp();
  read_and_set_all(fd);
  note("-- kept over connect");
  Name address = theirs(number(peer("listen 0")));
  said("connect", connect(fd, plain(address), size(address)));
  for (const Option& one : kOptions) said_option(fd, one);
  close(fd);
}

void all_of_a_connection() { both_ways(read_and_set_all); }

void all_of_a_listener() {
  const int fd = listening();
  read_and_set_all(fd);
  peer("connect 1 %d", port_of(fd));
  worked("accept", accept(fd, nullptr, nullptr));
  close(fd);
}

void all_of_a_datagram_socket() {
  const int fd = udp();
  read_and_set_all(fd);
  Name address = theirs(number(peer("udp 0")));
  said("connect", connect(fd, plain(address), size(address)));
  ask("echo 0");
  said("send", send(fd, "hello", 5, 0));
  answer_said("echo");
  char buffer[16];
  said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
  for (const Option& one : kOptions) said_option(fd, one);
  close(fd);
}

// What socket(7), ip(7), ipv6(7) and tcp(7) name beside those above; most of it is the kernel
// socket's alone.
constexpr Option kOthers[] = {
    {"SO_REUSEPORT", SOL_SOCKET, SO_REUSEPORT, 1},
    {"SO_DEBUG", SOL_SOCKET, SO_DEBUG, 1},
    {"SO_PASSCRED", SOL_SOCKET, SO_PASSCRED, 0},
    {"SO_PASSSEC", SOL_SOCKET, SO_PASSSEC, 0},
    {"SO_RXQ_OVFL", SOL_SOCKET, SO_RXQ_OVFL, 1},
    {"SO_LOCK_FILTER", SOL_SOCKET, SO_LOCK_FILTER, 1},
    {"SO_SELECT_ERR_QUEUE", SOL_SOCKET, SO_SELECT_ERR_QUEUE, 1},
    {"SO_NOFCS", SOL_SOCKET, SO_NOFCS, 0},
    {"SO_WIFI_STATUS", SOL_SOCKET, SO_WIFI_STATUS, 0},
    {"SO_TXREHASH", SOL_SOCKET, 74, 0},
    {"SO_PREFER_BUSY_POLL", SOL_SOCKET, 69, 0},
    {"IP_MULTICAST_TTL", IPPROTO_IP, IP_MULTICAST_TTL, 7},
    {"IP_MULTICAST_LOOP", IPPROTO_IP, IP_MULTICAST_LOOP, 0},
    {"IP_MULTICAST_ALL", IPPROTO_IP, IP_MULTICAST_ALL, 0},
    {"IP_UNICAST_IF", IPPROTO_IP, IP_UNICAST_IF, 0},
    {"IP_MINTTL", IPPROTO_IP, IP_MINTTL, 0},
    {"IP_NODEFRAG", IPPROTO_IP, IP_NODEFRAG, 1},
    {"IP_PASSSEC", IPPROTO_IP, IP_PASSSEC, 0},
    {"IP_RECVTOS", IPPROTO_IP, IP_RECVTOS, 1},
    {"IP_RECVOPTS", IPPROTO_IP, IP_RECVOPTS, 1},
    {"IP_RETOPTS", IPPROTO_IP, IP_RETOPTS, 1},
    {"IP_RECVFRAGSIZE", IPPROTO_IP, IP_RECVFRAGSIZE, 1},
    {"IP_CHECKSUM", IPPROTO_IP, IP_CHECKSUM, 0},
    {"IP_RECVERR_RFC4884", IPPROTO_IP, 26, 0},
    {"IP_ROUTER_ALERT", IPPROTO_IP, IP_ROUTER_ALERT, 0},
    {"IP_HDRINCL", IPPROTO_IP, IP_HDRINCL, 1},
    {"IPV6_RECVPKTINFO", IPPROTO_IPV6, IPV6_RECVPKTINFO, 1},
    {"IPV6_RECVTCLASS", IPPROTO_IPV6, IPV6_RECVTCLASS, 1},
    {"IPV6_RECVHOPOPTS", IPPROTO_IPV6, IPV6_RECVHOPOPTS, 1},
    {"IPV6_MULTICAST_HOPS", IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 3},
    {"IPV6_MULTICAST_ALL", IPPROTO_IPV6, 29, 1},
    {"IPV6_FREEBIND", IPPROTO_IPV6, IPV6_FREEBIND, 0},
    {"IPV6_ROUTER_ALERT", IPPROTO_IPV6, IPV6_ROUTER_ALERT, 0},
    {"IPV6_RECVERR_RFC4884", IPPROTO_IPV6, 31, 0},
    {"TCP_THIN_LINEAR_TIMEOUTS", IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 1},
    {"TCP_THIN_DUPACK", IPPROTO_TCP, TCP_THIN_DUPACK, 1},
    {"TCP_SAVE_SYN", IPPROTO_TCP, TCP_SAVE_SYN, 0},
    {"TCP_REPAIR_WINDOW", IPPROTO_TCP, TCP_REPAIR_WINDOW, -1},
    {"TCP_QUEUE_SEQ", IPPROTO_TCP, TCP_QUEUE_SEQ, -1},
    {"UDP_ENCAP", IPPROTO_UDP, 100, 0},
};

void others_of_the_manual() {
  const auto all_of = [](int fd) {
    for (const Option& one : kOthers) {
      said_option(fd, one);
      if (one.value < 0) continue;
      said(one.name, setsockopt(fd, one.level, one.option, &one.value, sizeof one.value));
      said_option(fd, one);
    }
    char security[64];
    socklen_t length = sizeof security;
    said("SO_PEERSEC", getsockopt(fd, SOL_SOCKET, SO_PEERSEC, security, &length));
    length = sizeof security;
    said("IP_OPTIONS", getsockopt(fd, IPPROTO_IP, IP_OPTIONS, security, &length));
    note("length %u", length);
    ip_mreq_source source{};
    source.imr_multiaddr.s_addr = htonl(0xef010203);
    source.imr_sourceaddr.s_addr = htonl(0x0a000001);
    said("IP_BLOCK_SOURCE", setsockopt(fd, IPPROTO_IP, IP_BLOCK_SOURCE, &source, sizeof source));
    said("IP_UNBLOCK_SOURCE",
         setsockopt(fd, IPPROTO_IP, IP_UNBLOCK_SOURCE, &source, sizeof source));
    said("IP_DROP_SOURCE_MEMBERSHIP",
         setsockopt(fd, IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP, &source, sizeof source));
    ip_msfilter filter{};
    filter.imsf_multiaddr.s_addr = htonl(0xef010203);
    length = sizeof filter;
    said("IP_MSFILTER", getsockopt(fd, IPPROTO_IP, IP_MSFILTER, &filter, &length));
  };
  both_ways(all_of);
  note("-- datagrams");
  const int fd = udp();
  all_of(fd);
  close(fd);
}

// Those of any socket that ask the kernel, whatever carries the bytes.
void requests_of_the_kernel() {
  both_ways([](int fd) {
    const int route = must("socket", socket(family, SOCK_DGRAM, 0));
    Name to = theirs(9);
    must("connect", connect(route, plain(to), size(to)));
    close(route);
    ifreq request{};
    strcpy(request.ifr_name, "lo");
    said("SIOCGIFINDEX", ioctl(fd, SIOCGIFINDEX, &request));
    said("SIOCGIFFLAGS", ioctl(fd, SIOCGIFFLAGS, &request));
    note("loopback %d", (request.ifr_flags & IFF_LOOPBACK) != 0);
    said("SIOCGIFMTU", ioctl(fd, SIOCGIFMTU, &request));
    note("mtu %d", request.ifr_mtu);
    strcpy(request.ifr_name, "none");
    said("SIOCGIFMTU of none", ioctl(fd, SIOCGIFMTU, &request));
    ifconf list{};
    said("SIOCGIFCONF", ioctl(fd, SIOCGIFCONF, &list));
    note("some %d", list.ifc_len > 0);
    int owner = 0;
    said("SIOCGPGRP", ioctl(fd, SIOCGPGRP, &owner));
    note("%d", owner);
    owner = getpid();
    said("FIOSETOWN", ioctl(fd, FIOSETOWN, &owner));
    said("FIOGETOWN", ioctl(fd, FIOGETOWN, &owner));
    note("mine %d, F_GETOWN %d", owner == getpid(), fcntl(fd, F_GETOWN) == getpid());
    owner = 0;
    said("SIOCSPGRP", ioctl(fd, SIOCSPGRP, &owner));
    note("F_GETOWN %d", fcntl(fd, F_GETOWN));
    said("FIOCLEX", ioctl(fd, FIOCLEX));
    note("FD_CLOEXEC %d", fcntl(fd, F_GETFD));
    said("FIONCLEX", ioctl(fd, FIONCLEX));
    note("FD_CLOEXEC %d", fcntl(fd, F_GETFD));
  });
}

// Lengths that are not those of the option.
void odd_lengths() {
  both_ways([](int fd) {
    static constexpr std::pair<int, int> kKinds[] = {
        {SOL_SOCKET, SO_KEEPALIVE}, {SOL_SOCKET, SO_ERROR},    {SOL_SOCKET, SO_TYPE},
        {IPPROTO_TCP, TCP_NODELAY}, {IPPROTO_TCP, TCP_MAXSEG}, {IPPROTO_IP, IP_TOS},
    };
    for (const auto& [level, option] : kKinds) {
      note("-- level %d option %d", level, option);
      for (const socklen_t room : {0U, 1U, 2U, 4U, 8U, 64U}) {
        char value[64];
        memset(value, 0x55, sizeof value);
        socklen_t length = room;
        const int result = getsockopt(fd, level, option, value, &length);
        const int code = errno;
        int touched = 0;
        for (const char byte : value) touched += byte != 0x55;
        note("get %u: %d %s length %u, within bounds %d", room, result,
             result == 0 ? "" : errno_name(code), length, touched <= static_cast<int>(room));
      }
      socklen_t negative = static_cast<socklen_t>(minus_one);
      int value = 1;
      said("get negative", getsockopt(fd, level, option, &value, &negative));
      socklen_t length = sizeof value;
      said("get NULL", getsockopt(fd, level, option, nullptr, &length));
      said("get NULL length", getsockopt(fd, level, option, &value, nullptr));
    }
    const int on = 1;
    said("set 1 byte", setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, 1));
    said("set 0 bytes", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, 0));
    said("set 8 bytes", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
    said("set IP_TOS 1 byte", setsockopt(fd, IPPROTO_IP, IP_TOS, &on, 1));
    said("set NULL", setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, nullptr, sizeof on));
    said("set bad pointer", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, bad_pointer(), sizeof on));
    said("unknown", setsockopt(fd, SOL_SOCKET, 9999, &on, sizeof on));
    said("unknown", setsockopt(fd, IPPROTO_TCP, 9999, &on, sizeof on));
    said("unknown level", setsockopt(fd, 9999, 1, &on, sizeof on));
    socklen_t length = sizeof on;
    int value = 0;
    said("unknown", getsockopt(fd, SOL_SOCKET, 9999, &value, &length));
    said("unknown", getsockopt(fd, IPPROTO_TCP, 9999, &value, &length));
    said("unknown level", getsockopt(fd, 9999, 1, &value, &length));
    said("set SO_TYPE", setsockopt(fd, SOL_SOCKET, SO_TYPE, &on, sizeof on));
    said("set SO_ERROR", setsockopt(fd, SOL_SOCKET, SO_ERROR, &on, sizeof on));
  });
}

void bad_values() {
  both_ways([](int fd) {
    static constexpr Option kBad[] = {
        {"TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, 0},
        {"TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, 40000},
        {"TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT, 128},
        {"TCP_SYNCNT", IPPROTO_TCP, TCP_SYNCNT, 0},
        {"TCP_MAXSEG", IPPROTO_TCP, TCP_MAXSEG, 10},
        {"IP_TTL", IPPROTO_IP, IP_TTL, 300},
        {"IP_TTL", IPPROTO_IP, IP_TTL, 0},
        {"IP_MTU_DISCOVER", IPPROTO_IP, IP_MTU_DISCOVER, 77},
    };
    for (const Option& one : kBad) {
      said(one.name, setsockopt(fd, one.level, one.option, &one.value, sizeof one.value));
    }
  });
}

void buffers() {
  const int fd = tcp();
  static constexpr Option kSizes[] = {
      {"SO_RCVBUF", SOL_SOCKET, SO_RCVBUF, 1},
      {"SO_RCVBUF", SOL_SOCKET, SO_RCVBUF, 50000},
      {"SO_RCVBUF", SOL_SOCKET, SO_RCVBUF, 1 << 30},
      {"SO_SNDBUF", SOL_SOCKET, SO_SNDBUF, 1},
      {"SO_SNDBUF", SOL_SOCKET, SO_SNDBUF, 50000},
      {"SO_SNDBUF", SOL_SOCKET, SO_SNDBUF, 1 << 30},
      {"SO_RCVBUFFORCE", SOL_SOCKET, SO_RCVBUFFORCE, 70000},
  };
  for (const Option& one : kSizes) {
    said("setsockopt", setsockopt(fd, one.level, one.option, &one.value, sizeof one.value));
    said_option(fd, {"SO_RCVBUF", SOL_SOCKET, SO_RCVBUF, 0});
    said_option(fd, {"SO_SNDBUF", SOL_SOCKET, SO_SNDBUF, 0});
  }
  Name address = theirs(number(peer("listen 0")));
  said("connect", connect(fd, plain(address), size(address)));
  said_option(fd, {"SO_RCVBUF", SOL_SOCKET, SO_RCVBUF, 0});
  peer("accept 0 1");
  ask("send 1 500000");
  receive_exactly(fd, 500000);
  answer_said("send");
  close(fd);
}

void linger_and_timeouts() {
  both_ways([](int fd) {
    linger value{};
    socklen_t length = sizeof value;
    said("SO_LINGER", getsockopt(fd, SOL_SOCKET, SO_LINGER, &value, &length));
    note("%d %d length %u", value.l_onoff, value.l_linger, length);
    value = {1, 9};
    said("SO_LINGER", setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value));
    value = {};
    getsockopt(fd, SOL_SOCKET, SO_LINGER, &value, &length);
    note("%d %d length %u", value.l_onoff, value.l_linger, length);
    said("short", setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, 4));
    value = {0, 0};
    said("SO_LINGER", setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value));
    for (const int name : {SO_RCVTIMEO, SO_SNDTIMEO}) {
      timeval time{12, 500000};
      said("set", setsockopt(fd, SOL_SOCKET, name, &time, sizeof time));
      time = {};
      length = sizeof time;
      said("get", getsockopt(fd, SOL_SOCKET, name, &time, &length));
      note("%ld %ld length %u", static_cast<long>(time.tv_sec), static_cast<long>(time.tv_usec),
           length);
      said("short", setsockopt(fd, SOL_SOCKET, name, &time, 4));
    }
  });
}

int tcp_state(int fd) {
  tcp_info info{};
  socklen_t length = sizeof info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return -1;
  return info.tcpi_state;
}

void tcp_info_tells_the_state() {
  const int fresh = tcp();
  note("fresh %d", tcp_state(fresh));
  close(fresh);
  const int listener = listening();
  note("listening %d", tcp_state(listener));
  peer("connect 1 %d", port_of(listener));
  worked("accept", accept(listener, nullptr, nullptr));
  close(listener);
  both_ways([](int fd) {
    note("connected %d", tcp_state(fd));
    for (const socklen_t room : {0U, 1U, 8U, 104U, 192U}) {
      char value[1024] = {};
      socklen_t length = room;
      const int result = getsockopt(fd, IPPROTO_TCP, TCP_INFO, value, &length);
      note("room %u: %d length %u", room, result, length);
    }
    tcp_info info{};
    socklen_t length = sizeof info;
    said("send", send(fd, "hello", 5, 0));
    peer_said("recv 1 5");
    getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length);
    note("mss %u, window scaling %d, timestamps %d, rto known %d", info.tcpi_snd_mss,
         (info.tcpi_options & TCPI_OPT_WSCALE) != 0, (info.tcpi_options & TCPI_OPT_TIMESTAMPS) != 0,
         info.tcpi_rto > 0);
    peer_said("shut 1 1");
    await(fd, POLLRDHUP);
    note("peer finished %d", tcp_state(fd));
    shutdown(fd, SHUT_WR);
    const bool closed = eventually([&] { return tcp_state(fd) == TCP_CLOSE; });
    note("both finished: closed %d", closed);
  });
  note("-- we finish first");
  const int fd = connected(2);
  shutdown(fd, SHUT_WR);
  const bool waits = eventually([&] { return tcp_state(fd) == TCP_FIN_WAIT2; });
  note("FIN_WAIT2 %d", waits);
  close(fd);
  note("-- reset");
  const int other = accepted(3);
  peer("reset 3");
  await(other, POLLERR);
  note("%d", tcp_state(other));
  close(other);
}

void mss() {
  both_ways([](int fd) {
    said_option(fd, {"TCP_MAXSEG", IPPROTO_TCP, TCP_MAXSEG, 0});
    int value = 0;
    socklen_t length = sizeof value;
    getsockopt(fd, IPPROTO_IP, IP_MTU, &value, &length);
    note("IP_MTU %d", value);
  });
  const int fd = tcp();
  said_option(fd, {"TCP_MAXSEG fresh", IPPROTO_TCP, TCP_MAXSEG, 0});
  int value = 0;
  socklen_t length = sizeof value;
  said("IP_MTU fresh", getsockopt(fd, IPPROTO_IP, IP_MTU, &value, &length));
  close(fd);
}

void congestion_name() {
  both_ways([](int fd) {
    char name[32] = {};
    socklen_t length = sizeof name;
    said("TCP_CONGESTION", getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &length));
    note("some name: %d length %u", name[0] != '\0', length);
    said("unknown", setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "no-such", 7));
  });
}

void keep_alive_goes_on() {
  both_ways([](int fd) {
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 1);
    said("send", send(fd, "hello", 5, 0));
    peer_said("recv 1 5");
    said_poll(fd);
  });
}

constexpr Scenario kScenarios[] = {
    {"all_of_a_fresh_socket", Proof::kTcp, all_of_a_fresh_socket},
    {"all_of_a_connection", Proof::kTcp, all_of_a_connection},
    {"all_of_a_listener", Proof::kTcp, all_of_a_listener},
    {"all_of_a_datagram_socket", Proof::kUdp, all_of_a_datagram_socket},
    {"others_of_the_manual", Proof::kTcp, others_of_the_manual},
    {"requests_of_the_kernel", Proof::kTcp, requests_of_the_kernel},
    {"odd_lengths", Proof::kTcp, odd_lengths},
    {"bad_values", Proof::kTcp, bad_values},
    {"buffers", Proof::kTcp, buffers},
    {"linger_and_timeouts", Proof::kTcp, linger_and_timeouts},
    {"tcp_info_tells_the_state", Proof::kTcp, tcp_info_tells_the_state},
    {"mss", Proof::kTcp, mss},
    {"congestion_name", Proof::kTcp, congestion_name},
    {"keep_alive_goes_on", Proof::kTcp, keep_alive_goes_on},
};

}  // namespace

int main(int argc, char** argv) { return scenario::main(argc, argv, kScenarios); }
