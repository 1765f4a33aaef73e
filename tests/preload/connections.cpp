// connections.cpp - connect, listen, accept, shutdown, close and the names of TCP sockets
#include "scenario.h"

using namespace scenario;

namespace {

// ---- connect

void connect_blocking() {
  const int port = number(peer("listen 0"));
  const int fd = tcp();
  said_sockname(fd);
  said_peername(fd);
  said_poll(fd);
  Name address = theirs(port);
  said("connect", connect(fd, plain(address), size(address)));
  said_sockname(fd);
  said_peername(fd);
  said_poll(fd);
  said("connect again", connect(fd, plain(address), size(address)));
  said_so_error(fd);
  peer_said("accept 0 1");
  note("same port: %d", number(peer("peerport 1")) == port_of(fd));
  said("bind", bind(fd, plain(address), size(address)));
  said("listen", listen(fd, 1));
  said("accept", accept(fd, nullptr, nullptr));
  said("close", close(fd));
  peer_said("recv 1 1");
}

void connect_nonblocking() {
  const int port = number(peer("listen 0"));
  const int fd = tcp(SOCK_NONBLOCK);
  Name address = theirs(port);
  said("connect", connect(fd, plain(address), size(address)));
  await(fd, POLLOUT);
  said_so_error(fd);
  said("connect again", connect(fd, plain(address), size(address)));
  said("connect again", connect(fd, plain(address), size(address)));
  said_peername(fd);
  peer_said("accept 0 1");
  said("send", send(fd, "hello", 5, 0));
  peer_said("recv 1 5");
  close(fd);
}

// Nobody answers for the address: the connection stays in SYN-SENT.
void connect_pending() {
  const int fd = tcp(SOCK_NONBLOCK);
  Name address = nobody();
  char byte = 'x';
  said("connect", connect(fd, plain(address), size(address)));
  said("connect again", connect(fd, plain(address), size(address)));
  said_poll(fd);
  said_so_error(fd);
  said("send", send(fd, &byte, 1, MSG_NOSIGNAL));
  said("recv", recv(fd, &byte, 1, 0));
  said_sockname(fd);
  said_peername(fd);
  said("listen", listen(fd, 1));
  said("shutdown", shutdown(fd, SHUT_RDWR));
  said("close", close(fd));
}

// SO_REUSEPORT: every listener of the port gets some of the connections.
void shared_listening_port() {
  int fds[3];
  int port = 0;
  for (int& fd : fds) {
    fd = tcp(SOCK_NONBLOCK);
    set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    Name address = mine(port);
    must("bind", bind(fd, plain(address), size(address)));
    must("listen", listen(fd, 64));
    port = port_of(fd);
  }
  constexpr int kConnections = 36;
  for (int i = 0; i < kConnections; ++i) peer("connect %d %d", i, port);
  int got[3] = {};
  const bool all = eventually([&] {
    for (int i = 0; i < 3; ++i) {
      const int fd = accept(fds[i], nullptr, nullptr);
      if (fd < 0) continue;
      ++got[i];
      close(fd);
    }
    return got[0] + got[1] + got[2] == kConnections;
  });
  note("all: %d, each has some: %d", all, got[0] > 0 && got[1] > 0 && got[2] > 0);
  peer("forget");
  note("-- one of them gone");
  close(fds[1]);
  for (int i = 0; i < 8; ++i) peer("connect %d %d", i, port);
  int rest = 0;
  eventually([&] {
    for (const int i : {0, 2}) {
      const int fd = accept(fds[i], nullptr, nullptr);
      if (fd >= 0) ++rest;
      if (fd >= 0) close(fd);
    }
    return rest == 8;
  });
  note("the others have all: %d", rest);
  close(fds[0]);
  close(fds[2]);
}

// sendto(2) that connects.
void fast_open() {
  Name address = theirs(number(peer("listen 0")));
  const int fd = tcp();
  said("no address", sendto(fd, "hello", 5, MSG_FASTOPEN | MSG_NOSIGNAL, nullptr, 0));
  Name none = no_name();
  said("AF_UNSPEC", sendto(fd, "hello", 5, MSG_FASTOPEN, plain(none), size(none)));
  said("too short", sendto(fd, "hello", 5, MSG_FASTOPEN, plain(address), 4));
  said("sendto", sendto(fd, "hello", 5, MSG_FASTOPEN, plain(address), size(address)));
  peer_said("accept 0 1");
  peer_said("recv 1 5");
  said_peername(fd);
  char buffer[16];
  ask("text 1 world");
  said_data("recv", recv(fd, buffer, 5, MSG_WAITALL), buffer);
  answer_said("text");
  said("again", sendto(fd, "hello", 5, MSG_FASTOPEN, plain(address), size(address)));
  said("close", close(fd));
  const int nonblocking = tcp(SOCK_NONBLOCK);
  said("nonblocking", sendto(nonblocking, "hello", 5, MSG_FASTOPEN, plain(address), size(address)));
  await(nonblocking, POLLOUT);
  said("send", send(nonblocking, "hello", 5, 0));
  peer_said("accept 0 2");
  peer_said("recv 2 5");
  said("close", close(nonblocking));
  const int refused = tcp();
  Name closed = theirs(number(peer("closed_port 0")));
  said("refused", sendto(refused, "hello", 5, MSG_FASTOPEN, plain(closed), size(closed)));
  said("close", close(refused));
}

void connect_send_timeout() {
  const int fd = tcp();
  set_timeout(fd, SO_SNDTIMEO, 50);
  Name address = nobody();
  said("connect", connect(fd, plain(address), size(address)));
  said("connect again", connect(fd, plain(address), size(address)));
  said("close", close(fd));
}

void connect_refused_blocking() {
  const int closed = number(peer("closed_port 0"));
  const int fd = tcp();
  Name address = theirs(closed);
  said("connect", connect(fd, plain(address), size(address)));
  said_so_error(fd);
  said_poll(fd);
  said_peername(fd);
  char byte = 'x';
  said("recv", recv(fd, &byte, 1, MSG_DONTWAIT));
  said("send", send(fd, &byte, 1, MSG_NOSIGNAL));
  said("connect again", connect(fd, plain(address), size(address)));
  address = theirs(number(peer("listen 0")));
  said("connect elsewhere", connect(fd, plain(address), size(address)));
  peer_said("accept 0 1");
  said("send", send(fd, "hello", 5, 0));
  peer_said("recv 1 5");
  close(fd);
}

void connect_refused_nonblocking() {
  const int closed = number(peer("closed_port 0"));
  Name address = theirs(closed);
  char byte = 'x';
  note("-- SO_ERROR tells");
  int fd = tcp(SOCK_NONBLOCK);
  said("connect", connect(fd, plain(address), size(address)));
  await(fd, POLLERR | POLLHUP);
  said_so_error(fd);
  said_so_error(fd);
  said_poll(fd);
  said("recv", recv(fd, &byte, 1, 0));
  said("send", send(fd, &byte, 1, MSG_NOSIGNAL));
  said_sockname(fd);
  said_peername(fd);
  close(fd);
  note("-- connect tells");
  fd = tcp(SOCK_NONBLOCK);
  said("connect", connect(fd, plain(address), size(address)));
  await(fd, POLLERR | POLLHUP);
  said("connect again", connect(fd, plain(address), size(address)));
  said_so_error(fd);
  said("connect again", connect(fd, plain(address), size(address)));
  close(fd);
  note("-- recv tells");
  fd = tcp(SOCK_NONBLOCK);
  said("connect", connect(fd, plain(address), size(address)));
  await(fd, POLLERR | POLLHUP);
  said("recv", recv(fd, &byte, 1, 0));
  said("recv", recv(fd, &byte, 1, 0));
  said_so_error(fd);
  close(fd);
  note("-- send tells");
  fd = tcp(SOCK_NONBLOCK);
  said("connect", connect(fd, plain(address), size(address)));
  await(fd, POLLERR | POLLHUP);
  said("send", send(fd, &byte, 1, MSG_NOSIGNAL));
  said("send", send(fd, &byte, 1, MSG_NOSIGNAL));
  close(fd);
}

// connect with AF_UNSPEC dissolves a connection (connect(2)).
void connect_unspec() {
  const int fd = connected();
  Name address = no_name();
  said("send", send(fd, "hello", 5, 0));
  peer_said("recv 1 5");
  said("connect AF_UNSPEC", connect(fd, plain(address), size(address)));
  peer_said("recv 1 1");
  said_peername(fd);
  address = theirs(number(peer("listen 0")));
  said("connect", connect(fd, plain(address), size(address)));
  peer_said("accept 0 2");
  said("send", send(fd, "hello", 5, 0));
  peer_said("recv 2 5");
  close(fd);
}

void bind_then_connect() {
  const int port = number(peer("listen 0"));
  const int fd = tcp();
  Name address = mine();
  said("bind", bind(fd, plain(address), size(address)));
  said_sockname(fd);
  const int bound = port_of(fd);
  said("bind again", bind(fd, plain(address), size(address)));
  address = theirs(port);
  said("connect", connect(fd, plain(address), size(address)));
  note("kept its port: %d", bound == port_of(fd));
  peer_said("accept 0 1");
  note("peer sees it: %d", bound == number(peer("peerport 1")));
  close(fd);
  note("-- to any address");
  const int other = tcp();
  address = anywhere();
  said("bind", bind(other, plain(address), size(address)));
  said_sockname(other);
  address = theirs(port);
  said("connect", connect(other, plain(address), size(address)));
  said_sockname(other);
  peer_said("accept 0 2");
  close(other);
}

void bind_refusals() {
  const int first = listening();
  Name address = mine(port_of(first));
  const int fd = tcp();
  said("bind to a used port", bind(fd, plain(address), size(address)));
  address = theirs(0);
  said("bind to a foreign address", bind(fd, plain(address), size(address)));
  said("bind short", bind(fd, plain(address), 4));
  said("bind NULL", bind(fd, nullptr, size(address)));
  address.any.sa_family = another_family();
  said("bind family", bind(fd, plain(address), size(address)));
  close(fd);
  close(first);
}

void connect_refusals() {
  Name address = theirs(number(peer("listen 0")));
  const int fd = tcp();
  said("short", connect(fd, plain(address), 4));
  said("NULL", connect(fd, nullptr, size(address)));
  said("bad pointer", connect(fd, reinterpret_cast<sockaddr*>(16), size(address)));
  Name wrong = address;
  wrong.any.sa_family = another_family();
  said("family", connect(fd, plain(wrong), size(wrong)));
  Name zero = theirs(0);
  said("port 0", connect(fd, plain(zero), size(zero)));
  Name multicast = at_text("224.0.1.9", "ff05::109", 7);
  said("multicast", connect(fd, plain(multicast), size(multicast)));
  if (over_v4()) {
    Name broadcast = at(from_v4(INADDR_BROADCAST), 7);
    said("broadcast", connect(fd, plain(broadcast), size(broadcast)));
  }
  Name unrouted = nowhere();
  said("no route", connect(fd, plain(unrouted), size(unrouted)));
  said("still usable", connect(fd, plain(address), size(address)));
  close(fd);
}

void exchange(int one, int other) {
  char buffer[16];
  said("send", send(one, "ping", 4, 0));
  said_data("recv", recv(other, buffer, sizeof buffer, 0), buffer);
  said("send", send(other, "pong", 4, 0));
  said_data("recv", recv(one, buffer, sizeof buffer, 0), buffer);
}

// Never over the wire: the kernel's loopback.
void connect_to_own_address() {
  for (const Ip& ip : {my_ip, loopback_ip(), any_ip()}) {
    note("-- to %s", ip_name(ip));
    const int listener = listening(anywhere());
    const int fd = tcp();
    Name address = at(ip, port_of(listener));
    said("connect", connect(fd, plain(address), size(address)));
    const int other = accept(listener, nullptr, nullptr);
    worked("accept", other);
    said_peername(fd);
    said_sockname(other);
    exchange(fd, other);
    close(fd);
    char byte;
    said("recv", recv(other, &byte, 1, 0));
    close(other);
    close(listener);
  }
}

// A simultaneous open with oneself.
void connect_to_own_port() {
  const int fd = tcp();
  Name address = mine();
  must("bind", bind(fd, plain(address), size(address)));
  address = mine(port_of(fd));
  said("connect", connect(fd, plain(address), size(address)));
  exchange(fd, fd);
  close(fd);
}

// ---- listen and accept

void said_accepted(int fd, const Name& name, socklen_t length) {
  said_name("accept's address", fd < 0 ? -1 : 0, name, length);
  said_sockname(fd);
  said_peername(fd);
  note("O_NONBLOCK %d, FD_CLOEXEC %d", (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0,
       fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

void listen_and_accept() {
  const int fd = tcp();
  char byte = 'x';
  said("accept before listen", accept(fd, nullptr, nullptr));
  said("listen unbound", listen(fd, 8));
  said_sockname(fd);
  said_peername(fd);
  said("listen twice", listen(fd, 4));
  said("recv", recv(fd, &byte, 1, MSG_DONTWAIT));
  said("send", send(fd, &byte, 1, MSG_NOSIGNAL));
  Name own = mine(port_of(fd));
  said("connect a listener", connect(fd, plain(own), size(own)));
  said("bind a listener", bind(fd, plain(own), size(own)));
  said_poll(fd);
  set_nonblocking(fd, true);
  said("accept", accept(fd, nullptr, nullptr));
  peer("connect 1 %d", port_of(fd));
  await(fd, POLLIN);
  Name name{};
  socklen_t length = size(name);
  int conn = accept(fd, plain(name), &length);
  said_accepted(conn, name, length);
  note("the peer's port: %d", peer_port_of(conn) == port_in(name));
  close(conn);
  said_poll(fd);
  peer("connect 2 %d", port_of(fd));
  await(fd, POLLIN);
  length = 4;
  name = {};
  conn = accept4(fd, plain(name), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  worked("accept4", conn);
  note("short: family %d port %d length %u", name.any.sa_family, port_in(name) != 0, length);
  note("O_NONBLOCK %d, FD_CLOEXEC %d", (fcntl(conn, F_GETFL) & O_NONBLOCK) != 0,
       fcntl(conn, F_GETFD) & FD_CLOEXEC);
  said("accept4 flags", accept4(fd, nullptr, nullptr, 1));
  close(conn);
  close(fd);
}

// A server on 0.0.0.0 takes from the kernel and from the stack.
void listen_anywhere() {
  const int fd = listening(anywhere());
  for (int round = 0; round < 3; ++round) {
    const int local = tcp();
    Name address = loopback(port_of(fd));
    said("connect over loopback", connect(local, plain(address), size(address)));
    peer("connect 1 %d", port_of(fd));
    int from_loopback = -1;
    int from_peer = -1;
    for (int i = 0; i < 2; ++i) {
      Name name{};
      socklen_t length = size(name);
      const int conn = accept(fd, plain(name), &length);
      (ip_of(name) == peer_ip ? from_peer : from_loopback) = conn;
    }
    note("both: %d", from_loopback >= 0 && from_peer >= 0);
    said_sockname(from_loopback);
    said_sockname(from_peer);
    exchange(local, from_loopback);
    said("send", send(from_peer, "hello", 5, 0));
    peer_said("recv 1 5");
    close(local);
    close(from_loopback);
    close(from_peer);
    peer("forget");
  }
  close(fd);
}

// A blocked accept wakes for a connection of either side.
void accept_blocked_for_either_side() {
  const int fd = listening(anywhere());
  const int port = port_of(fd);
  for (const bool over_loopback : {true, false, true}) {
    Name name{};
    socklen_t length = size(name);
    int conn = -1;
    Worker worker([&] { conn = accept(fd, plain(name), &length); });
    worker.await_blocked();
    const int local = tcp();
    if (over_loopback) {
      Name address = loopback(port);
      must("connect", connect(local, plain(address), size(address)));
    } else {
      peer("connect 1 %d", port);
    }
    worker.join();
    note("accepted %d from %s", conn >= 0, ip_name(ip_of(name)));
    close(conn);
    close(local);
  }
  close(fd);
}

// What an accepted socket has from its listener, and O_NONBLOCK that it has not.
void accept_inherits() {
  const int fd = listening(mine(), 8, SOCK_NONBLOCK | SOCK_CLOEXEC);
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 77);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
  set_option(fd, SOL_SOCKET, SO_PRIORITY, 5);
  set_option(fd, SOL_SOCKET, SO_RCVLOWAT, 3);
  set_option(fd, IPPROTO_IP, IP_TOS, 0x10);
  set_option(fd, IPPROTO_IP, IP_TTL, 33);
  set_option(fd, SOL_SOCKET, SO_RCVBUF, 100000);
  set_timeout(fd, SO_RCVTIMEO, 2000);
  const linger value{1, 3};
  must("SO_LINGER", setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value));
  peer("connect 1 %d", port_of(fd));
  await(fd, POLLIN);
  const int conn = accept(fd, nullptr, nullptr);
  note("O_NONBLOCK %d, FD_CLOEXEC %d", (fcntl(conn, F_GETFL) & O_NONBLOCK) != 0,
       fcntl(conn, F_GETFD) & FD_CLOEXEC);
  static constexpr struct {
    const char* name;
    int level;
    int option;
  } kOptions[] = {
      {"TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY},
      {"SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE},
      {"TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE},
      {"TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT},
      {"SO_PRIORITY", SOL_SOCKET, SO_PRIORITY},
      {"SO_RCVLOWAT", SOL_SOCKET, SO_RCVLOWAT},
      {"IP_TOS", IPPROTO_IP, IP_TOS},
      {"IP_TTL", IPPROTO_IP, IP_TTL},
      {"SO_RCVBUF", SOL_SOCKET, SO_RCVBUF},
      {"SO_ACCEPTCONN", SOL_SOCKET, SO_ACCEPTCONN},
      {"SO_TYPE", SOL_SOCKET, SO_TYPE},
      {"SO_ERROR", SOL_SOCKET, SO_ERROR},
  };
  for (const auto& [name, level, option] : kOptions) {
    int number = -1;
    socklen_t length = sizeof number;
    getsockopt(conn, level, option, &number, &length);
    note("%s %d", name, number);
  }
  linger inherited{};
  socklen_t length = sizeof inherited;
  getsockopt(conn, SOL_SOCKET, SO_LINGER, &inherited, &length);
  note("SO_LINGER %d %d", inherited.l_onoff, inherited.l_linger);
  timeval timeout{};
  length = sizeof timeout;
  getsockopt(conn, SOL_SOCKET, SO_RCVTIMEO, &timeout, &length);
  note("SO_RCVTIMEO %ld s", static_cast<long>(timeout.tv_sec));
  close(conn);
  close(fd);
}

void shutdown_listener() {
  const int fd = listening();
  int result = 0;
  int code = 0;
  Worker worker([&] {
    result = accept(fd, nullptr, nullptr);
    code = errno;
  });
  worker.await_blocked();
  said("shutdown", shutdown(fd, SHUT_RD));
  worker.join();
  note("blocked accept = %d %s", result, errno_name(code));
  said_poll(fd);
  said("accept", accept(fd, nullptr, nullptr));
  const int port = port_of(fd);
  note("still bound: %d", port != 0);
  const std::string refused = peer("connect 1 %d", port);
  note("peer's connect: %s", refused.c_str());
  said("listen again", listen(fd, 4));
  note("on the same port: %d", port_of(fd) == port);
  const std::string now = peer("connect 1 %d", port_of(fd));
  note("peer's connect: %s", now.c_str());
  const int conn = accept(fd, nullptr, nullptr);
  worked("accept", conn);
  close(conn);
  close(fd);
}

// Connections that nobody has accepted are reset with their listener.
void close_listener_with_pending() {
  const int fd = listening();
  peer("connect 1 %d", port_of(fd));
  peer("connect 2 %d", port_of(fd));
  peer("text 2 hello");
  await(fd, POLLIN);
  said("close", close(fd));
  peer_said("recv 1 1");
  peer_said("recv 2 1");
}

void accept_what_has_ended() {
  const int fd = listening();
  char buffer[16];
  note("-- data and FIN before accept");
  peer("connect 1 %d", port_of(fd));
  peer_said("text 1 hello");
  peer_said("close 1");
  int conn = accept(fd, nullptr, nullptr);
  worked("accept", conn);
  await(conn, POLLIN | POLLRDHUP);
  said_data("recv", recv(conn, buffer, sizeof buffer, 0), buffer);
  said("recv", recv(conn, buffer, sizeof buffer, 0));
  close(conn);
  note("-- reset before accept");
  peer("connect 1 %d", port_of(fd));
  await(fd, POLLIN);
  peer_said("reset 1");
  conn = accept(fd, nullptr, nullptr);
  worked("accept", conn);
  await(conn, POLLERR | POLLHUP);
  said_peername(conn);
  said("recv", recv(conn, buffer, sizeof buffer, 0));
  said("recv", recv(conn, buffer, sizeof buffer, 0));
  close(conn);
  close(fd);
}

void accept_refusals() {
  const int listener = listening();
  Name name{};
  socklen_t length = static_cast<socklen_t>(-1);
  set_nonblocking(listener, true);
  said("none waits", accept(listener, plain(name), &length));
  peer("connect 1 %d", port_of(listener));
  await(listener, POLLIN);
  const int conn = accept(listener, plain(name), nullptr);
  said("address without length", conn);
  close(listener);
  const int datagram = udp();
  said("listen on UDP", listen(datagram, 1));
  said("accept on UDP", accept(datagram, nullptr, nullptr));
  close(datagram);
}

void accept_timeout() {
  const int fd = listening();
  set_timeout(fd, SO_RCVTIMEO, 20);
  said("accept", accept(fd, nullptr, nullptr));
  peer("connect 1 %d", port_of(fd));
  worked("accept", accept(fd, nullptr, nullptr));
  close(fd);
}

void port_is_free_after_close() {
  int port = 0;
  for (int round = 0; round < 3; ++round) {
    const int fd = tcp();
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    Name address = mine(port);
    said("bind", bind(fd, plain(address), size(address)));
    port = port_of(fd);
    said("listen", listen(fd, 8));
    const std::string done = peer("connect 1 %d", port);
    note("peer's connect: %s", done.c_str());
    const int conn = accept(fd, nullptr, nullptr);
    worked("accept", conn);
    close(conn);
    close(fd);
    peer("forget");
  }
  const std::string refused = peer("connect 1 %d", port);
  note("peer's connect: %s", refused.c_str());
}

void names_with_odd_lengths() {
  both_ways([](int fd) {
    for (const socklen_t room : {0U, 1U, 2U, 4U, 8U, 16U, 17U, 128U}) {
      char storage[128];
      memset(storage, 0x55, sizeof storage);
      socklen_t length = room;
      const int result = getsockname(fd, reinterpret_cast<sockaddr*>(storage), &length);
      socklen_t peer_length = room;
      char peer_storage[128];
      memset(peer_storage, 0x55, sizeof peer_storage);
      getpeername(fd, reinterpret_cast<sockaddr*>(peer_storage), &peer_length);
      int touched = 0;
      for (int i = 0; i < 128; ++i) touched += storage[i] != 0x55;
      note("room %u: %d length %u %u, within bounds %d", room, result, length, peer_length,
           touched <= static_cast<int>(room));
    }
    Name name{};
    socklen_t negative = static_cast<socklen_t>(-1);
    said("negative", getsockname(fd, plain(name), &negative));
    said("negative", getpeername(fd, plain(name), &negative));
    said("NULL length", getsockname(fd, plain(name), nullptr));
    socklen_t length = size(name);
    said("NULL name", getsockname(fd, nullptr, &length));
    said("NULL name", getpeername(fd, nullptr, &length));
    length = 0;
    said("NULL name without room", getsockname(fd, nullptr, &length));
  });
}

// ---- shutdown and close, from either end

void try_io(int fd) {
  char buffer[16];
  said_poll(fd);
  said_data("recv", recv(fd, buffer, sizeof buffer, MSG_DONTWAIT), buffer);
  said("send", send(fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT));
  said_so_error(fd);
}

void shutdown_write_first() {
  both_ways([](int fd) {
    said("shutdown", shutdown(fd, SHUT_WR));
    said_poll(fd);
    said("send", send(fd, "x", 1, MSG_NOSIGNAL));
    said("shutdown again", shutdown(fd, SHUT_WR));
    peer_said("recv 1 1");
    peer_said("text 1 hello");
    await(fd, POLLIN);
    char buffer[16];
    said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
    said_poll(fd);
    peer_said("close 1");
    await(fd, POLLIN | POLLHUP);
    try_io(fd);
    said_peername(fd);
    said("shutdown", shutdown(fd, SHUT_RDWR));
  });
}

void shutdown_read() {
  both_ways([](int fd) {
    said("shutdown", shutdown(fd, SHUT_RD));
    try_io(fd);
    peer_said("recv 1 1");
    peer_said("text 1 hello");
    await_unread(fd, 5);
    try_io(fd);
    try_io(fd);
    said("shutdown WR", shutdown(fd, SHUT_WR));
    said_poll(fd);
  });
}

void shutdown_read_and_write() {
  both_ways([](int fd) {
    said("shutdown", shutdown(fd, SHUT_RDWR));
    said_poll(fd);
    char buffer[16];
    said("recv", recv(fd, buffer, sizeof buffer, 0));
    said("send", send(fd, "x", 1, MSG_NOSIGNAL));
    peer_said("recv 1 1");
    peer_said("close 1");
    try_io(fd);
  });
}

void peer_shuts_write() {
  both_ways([](int fd) {
    peer_said("text 1 hello");
    peer_said("shut 1 1");
    await(fd, POLLIN | POLLRDHUP);
    char buffer[16];
    said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
    said("recv", recv(fd, buffer, sizeof buffer, 0));
    try_io(fd);
    peer_said("recv 1 1");
    said("shutdown", shutdown(fd, SHUT_WR));
    await(fd, POLLHUP);
    try_io(fd);
    peer_said("recv 1 1");
  });
}

// The first send meets the reset of the peer's closed socket, the next ones what it left.
void peer_closes_then_send() {
  both_ways([](int fd) {
    peer_said("close 1");
    await(fd, POLLIN | POLLRDHUP);
    char byte;
    said("recv", recv(fd, &byte, 1, 0));
    said("send", send(fd, "x", 1, MSG_NOSIGNAL));
    await(fd, POLLERR | POLLHUP);
    said("send", send(fd, "x", 1, MSG_NOSIGNAL));
    said_poll(fd);
    try_io(fd);
  });
}

void reset_then_recv() {
  both_ways([](int fd) {
    peer_said("reset 1");
    await(fd, POLLERR | POLLHUP);
    char byte;
    said("recv", recv(fd, &byte, 1, 0));
    said("recv", recv(fd, &byte, 1, 0));
    try_io(fd);
    said_sockname(fd);
    said_peername(fd);
    said("shutdown", shutdown(fd, SHUT_RDWR));
  });
}

void reset_then_so_error() {
  both_ways([](int fd) {
    peer_said("reset 1");
    await(fd, POLLERR | POLLHUP);
    said_so_error(fd);
    said_so_error(fd);
    try_io(fd);
  });
}

void reset_then_send() {
  both_ways([](int fd) {
    peer_said("reset 1");
    await(fd, POLLERR | POLLHUP);
    said("send", send(fd, "x", 1, MSG_NOSIGNAL));
    said("send", send(fd, "x", 1, MSG_NOSIGNAL));
    try_io(fd);
  });
}

void reset_behind_data() {
  both_ways([](int fd) {
    peer_said("text 1 hello");
    await_unread(fd, 5);
    peer_said("reset 1");
    await(fd, POLLERR | POLLHUP);
    note("FIONREAD %d", unread(fd));
    try_io(fd);
    try_io(fd);
  });
}

void blocked_calls_meet_a_reset() {
  both_ways([](int fd) {
    char byte;
    long result = 0;
    int code = 0;
    Worker worker([&] {
      result = recv(fd, &byte, 1, 0);
      code = errno;
    });
    worker.await_blocked();
    peer_said("reset 1");
    worker.join();
    note("blocked recv = %ld %s", result, errno_name(code));
  });
}

void close_with_unread_data() {
  both_ways([](int fd) {
    peer_said("text 1 hello");
    await_unread(fd, 5);
    close(fd);
    peer_said("recv 1 1");
    // The caller closes the number once more.
    must("open", open("/dev/null", O_RDONLY));
  });
}

void close_orderly_and_lingering() {
  for (const int seconds : {-1, 0, 2}) {
    note("-- linger %d", seconds);
    const int fd = connected();
    const linger value{seconds >= 0, seconds};
    must("SO_LINGER", setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value));
    said("send", send(fd, "hello", 5, 0));
    peer_said("recv 1 5");
    said("close", close(fd));
    peer_said("recv 1 1");
    peer("forget");
  }
}

// What was sent before close arrives, however slowly the peer reads.
void close_with_unsent_data() {
  for (const bool lingers : {false, true}) {
    const int fd = connected();
    const linger value{lingers, 20};
    must("SO_LINGER", setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value));
    set_nonblocking(fd, true);
    const std::string data = pattern(1 << 20);
    size_t sent = 0;
    for (;;) {
      const ssize_t done = send(fd, data.data(), data.size(), 0);
      if (done < 0) break;
      sent += static_cast<size_t>(done);
      if (sent > (32U << 20)) break;
    }
    note("filled: %d", sent > 0);
    set_nonblocking(fd, false);
    ask("recv 1 100000000");
    said("close", close(fd));
    const std::string got = answer();
    note("all arrived: %d, EOF: %d", strtoull(got.c_str(), nullptr, 10) == sent,
         got.ends_with(" EOF"));
    peer("forget");
  }
}

void shutdown_refusals() {
  int fd = tcp();
  said("unconnected", shutdown(fd, SHUT_RDWR));
  said("how", shutdown(fd, 7));
  close(fd);
  said("closed", shutdown(fd, SHUT_RD));
  fd = connected();
  said("how", shutdown(fd, 3));
  said("how", shutdown(fd, -1));
  said("fine", shutdown(fd, SHUT_RDWR));
  close(fd);
}

void shutdown_wakes_recv() {
  both_ways([](int fd) {
    char byte;
    long result = -2;
    Worker worker([&] { result = recv(fd, &byte, 1, 0); });
    worker.await_blocked();
    said("shutdown", shutdown(fd, SHUT_RD));
    worker.join();
    note("blocked recv = %ld", result);
  });
}

// Data on its way when the FIN is sent still arrives; the peer closes last.
void both_ends_finish() {
  both_ways([](int fd) {
    said("send", send(fd, "last", 4, 0));
    said("shutdown", shutdown(fd, SHUT_WR));
    peer_said("recv 1 10");
    peer_said("text 1 words");
    peer_said("close 1");
    drain(fd);
    said_poll(fd);
    tcp_info info{};
    socklen_t length = sizeof info;
    getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length);
    note("closed or in TIME_WAIT: %d",
         info.tcpi_state == TCP_CLOSE || info.tcpi_state == TCP_TIME_WAIT);
  });
}

// ip(7); curl sets it with --interface, proxies for their sources.
void bind_without_a_port() {
  const int port = number(peer("listen 0"));
  const int fd = tcp();
  const int on = 1;
  said("setsockopt", setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on));
  Name source = mine();
  said("bind", bind(fd, plain(source), size(source)));
  said_sockname(fd);
  Name address = theirs(port);
  said("connect", connect(fd, plain(address), size(address)));
  said_sockname(fd);
  int value = 0;
  socklen_t length = sizeof value;
  said("getsockopt", getsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &value, &length));
  note("value %d", value);
  peer("accept 0 1");
  said("send", send(fd, "hello", 5, 0));
  peer_said("recv 1 5");
  close(fd);
  peer("close 0");
}

constexpr Scenario kScenarios[] = {
    {"bind_without_a_port", Proof::kTcp, bind_without_a_port},
    {"connect_blocking", Proof::kTcp, connect_blocking},
    {"connect_nonblocking", Proof::kTcp, connect_nonblocking},
    {"connect_pending", Proof::kNone, connect_pending},
    {"shared_listening_port", Proof::kTcp, shared_listening_port},
    {"fast_open", Proof::kTcp, fast_open},
    {"connect_send_timeout", Proof::kNone, connect_send_timeout},
    {"connect_refused_blocking", Proof::kTcp, connect_refused_blocking},
    {"connect_refused_nonblocking", Proof::kTcp, connect_refused_nonblocking},
    {"connect_unspec", Proof::kTcp, connect_unspec},
    {"bind_then_connect", Proof::kTcp, bind_then_connect},
    {"bind_refusals", Proof::kNone, bind_refusals},
    {"connect_refusals", Proof::kNone, connect_refusals},
    {"connect_to_own_address", Proof::kNone, connect_to_own_address},
    {"connect_to_own_port", Proof::kNone, connect_to_own_port},
    {"listen_and_accept", Proof::kTcp, listen_and_accept},
    {"listen_anywhere", Proof::kTcpHybrid, listen_anywhere},
    {"accept_blocked_for_either_side", Proof::kTcpHybrid, accept_blocked_for_either_side},
    {"accept_inherits", Proof::kTcp, accept_inherits},
    {"accept_what_has_ended", Proof::kTcp, accept_what_has_ended},
    {"accept_refusals", Proof::kTcp, accept_refusals},
    {"accept_timeout", Proof::kTcp, accept_timeout},
    {"shutdown_listener", Proof::kNone, shutdown_listener},
    {"close_listener_with_pending", Proof::kTcp, close_listener_with_pending},
    {"port_is_free_after_close", Proof::kTcp, port_is_free_after_close},
    {"names_with_odd_lengths", Proof::kTcp, names_with_odd_lengths},
    {"shutdown_write_first", Proof::kTcp, shutdown_write_first},
    {"shutdown_read", Proof::kTcp, shutdown_read},
    {"shutdown_read_and_write", Proof::kTcp, shutdown_read_and_write},
    {"shutdown_refusals", Proof::kTcp, shutdown_refusals},
    {"shutdown_wakes_recv", Proof::kTcp, shutdown_wakes_recv},
    {"peer_shuts_write", Proof::kTcp, peer_shuts_write},
    {"peer_closes_then_send", Proof::kTcp, peer_closes_then_send},
    {"reset_then_recv", Proof::kTcp, reset_then_recv},
    {"reset_then_so_error", Proof::kTcp, reset_then_so_error},
    {"reset_then_send", Proof::kTcp, reset_then_send},
    {"reset_behind_data", Proof::kTcp, reset_behind_data},
    {"blocked_calls_meet_a_reset", Proof::kTcp, blocked_calls_meet_a_reset},
    {"close_with_unread_data", Proof::kTcp, close_with_unread_data},
    {"close_orderly_and_lingering", Proof::kTcp, close_orderly_and_lingering},
    {"close_with_unsent_data", Proof::kTcp, close_with_unsent_data},
    {"both_ends_finish", Proof::kTcp, both_ends_finish},
};

}  // namespace

int main(int argc, char** argv) { return scenario::main(argc, argv, kScenarios); }
