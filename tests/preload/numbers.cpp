// numbers.cpp - calls by their numbers, through syscall(2), as libuv and others make them
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <initializer_list>

#include "scenario.h"

using namespace scenario;

namespace {

iovec piece(const void* data, size_t bytes) { return {const_cast<void*>(data), bytes}; }

void connect_by_number() {
  Name address = theirs(number(peer("listen 1 8")));
  const auto fd = static_cast<int>(syscall(SYS_socket, family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  worked("socket", fd);
  said("connect", syscall(SYS_connect, fd, &address, size(address)));
  Name name;
  socklen_t length = sizeof name;
  const long named = syscall(SYS_getpeername, fd, &name, &length);
  note("peer port %d", port_in(name) == port_in(address));
  said_name("getpeername", named, name, length);
  int on = 1;
  said("setsockopt", syscall(SYS_setsockopt, fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
  on = 0;
  length = sizeof on;
  said("getsockopt", syscall(SYS_getsockopt, fd, IPPROTO_TCP, TCP_NODELAY, &on, &length));
  note("value %d", on);
  peer_said("accept 1 2");
  said("sendto", syscall(SYS_sendto, fd, "hello", 5, 0, nullptr, 0));
  peer_said("recv 2 5");
  said("shutdown", syscall(SYS_shutdown, fd, SHUT_WR));
  peer_said("recv 2 1");
  said("sendto", syscall(SYS_sendto, fd, "hello", 5, MSG_NOSIGNAL, nullptr, 0));
  said("close", syscall(SYS_close, fd));
}

void accept_by_number() {
  const int listener = static_cast<int>(syscall(SYS_socket, family, SOCK_STREAM, 0));
  Name address = mine();
  said("bind", syscall(SYS_bind, listener, &address, size(address)));
  said("listen", syscall(SYS_listen, listener, 4));
  ask("connect 1 %d", port_of(listener));
  answer_said("connect");
  Name name;
  socklen_t length = sizeof name;
  const auto fd = static_cast<int>(
      syscall(SYS_accept4, listener, &name, &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
  said_name("accept4", fd < 0 ? fd : 0, name, length);
  char data[8] = {};
  said("read", syscall(SYS_read, fd, data, sizeof data));
  note("flags %lx", syscall(SYS_fcntl, fd, F_GETFL) & O_NONBLOCK);
  peer_said("text 1 abc");
  await_unread(fd, 3);
  int unread_bytes = 0;
  said("ioctl", syscall(SYS_ioctl, fd, FIONREAD, &unread_bytes));
  note("unread %d", unread_bytes);
  said_data("recvfrom", syscall(SYS_recvfrom, fd, data, sizeof data, 0, nullptr, nullptr), data);
  close(fd);
  close(listener);
}

void transfers_by_number() {
  both_ways([](int fd) {
    iovec pieces[2] = {piece("ab", 2), piece("cde", 3)};
    said("write", syscall(SYS_write, fd, "hello", 5));
    peer_said("recv 1 5");
    said("writev", syscall(SYS_writev, fd, pieces, 2));
    peer_said("recv 1 5");
    said("pwritev2", syscall(SYS_pwritev2, fd, pieces, 2, -1L, -1L, 0));
    peer_said("recv 1 5");
    said("pwritev2 offset", syscall(SYS_pwritev2, fd, pieces, 2, 0L, 0L, 0));
    msghdr header{};
    header.msg_iov = pieces;
    header.msg_iovlen = 2;
    said("sendmsg", syscall(SYS_sendmsg, fd, &header, 0));
    peer_said("recv 1 5");
    mmsghdr several[2] = {};
    several[0].msg_hdr = header;
    several[1].msg_hdr = header;
    said("sendmmsg", syscall(SYS_sendmmsg, fd, several, 2, 0));
    note("lengths %u %u", several[0].msg_len, several[1].msg_len);
    peer_said("recv 1 10");
    const int file = memfd_create("file", 0);
    must("write", static_cast<int>(write(file, "0123456789", 10)));
    off_t offset = 2;
    said("sendfile", syscall(SYS_sendfile, fd, file, &offset, 5));
    note("offset %ld", offset);
    peer_said("recv 1 5");
    close(file);
    char data[8] = {};
    peer_said("text 1 abcdef");
    await_unread(fd, 6);
    said_data("read", syscall(SYS_read, fd, data, 2), data);
    iovec into = {data, 2};
    said_data("readv", syscall(SYS_readv, fd, &into, 1), data);
    msghdr received{};
    received.msg_iov = &into;
    received.msg_iovlen = 1;
    said_data("recvmsg", syscall(SYS_recvmsg, fd, &received, MSG_DONTWAIT), data);
    said("recvmsg", syscall(SYS_recvmsg, fd, &received, MSG_DONTWAIT));
  });
}

void datagrams_by_number() {
  const int port = number(peer("udp 1"));
  const int fd = udp();
  Name address = theirs(port);
  must("connect", connect(fd, plain(address), size(address)));
  iovec pieces[2] = {piece("one", 3), piece("second", 6)};
  mmsghdr several[2] = {};
  for (int i = 0; i < 2; ++i) {
    several[i].msg_hdr.msg_iov = &pieces[i];
    several[i].msg_hdr.msg_iovlen = 1;
  }
  said("sendmmsg", syscall(SYS_sendmmsg, fd, several, 2, 0));
  note("lengths %u %u", several[0].msg_len, several[1].msg_len);
  peer_said("echo 1");
  peer_said("echo 1");
  await(fd, POLLIN);
  char first[8] = {};
  char second[8] = {};
  iovec into[2] = {{first, sizeof first}, {second, sizeof second}};
  for (int i = 0; i < 2; ++i) several[i].msg_hdr.msg_iov = &into[i];
  said("recvmmsg", syscall(SYS_recvmmsg, fd, several, 2, 0, nullptr));
  note("'%s' '%s'", first, second);
  said("recvmmsg", syscall(SYS_recvmmsg, fd, several, 2, MSG_DONTWAIT, nullptr));
  close(fd);
}

void waits_by_number() {
  both_ways([](int fd) {
    int ends[2];
    must("pipe", pipe(ends));
    pollfd fds[2] = {{fd, POLLIN, 0}, {ends[0], POLLIN, 0}};
    timespec limit = {0, 1'000'000};
    said("ppoll", syscall(SYS_ppoll, fds, 2, &limit, nullptr, 8));
    note("left %ld.%09ld", limit.tv_sec, limit.tv_nsec);
    peer_said("text 1 abc");
    limit = {60, 0};
    said("ppoll", syscall(SYS_ppoll, fds, 2, &limit, nullptr, 8));
    note("left over: %d", limit.tv_sec > 30 && limit.tv_sec < 60);
    said("poll", syscall(SYS_poll, fds, 2, -1));
    note("%s", event_names(static_cast<uint32_t>(fds[0].revents)).c_str());
    sigset_t none;
    sigemptyset(&none);
    said("ppoll, a set of libc's size", syscall(SYS_ppoll, fds, 2, &limit, &none, sizeof none));
    const auto set = static_cast<int>(syscall(SYS_epoll_create1, EPOLL_CLOEXEC));
    epoll_event event{};
    event.events = EPOLLIN;
    said("epoll_ctl", syscall(SYS_epoll_ctl, set, EPOLL_CTL_ADD, fd, &event));
    said("epoll_wait", syscall(SYS_epoll_wait, set, &event, 1, -1));
    said("epoll_pwait", syscall(SYS_epoll_pwait, set, &event, 1, -1, &none, 8));
    note("%s", event_names(event.events).c_str());
    char data[4];
    said("read", syscall(SYS_read, fd, data, sizeof data));
    said("epoll_wait", syscall(SYS_epoll_wait, set, &event, 1, 0));
    for (const int one : {set, ends[0], ends[1]}) close(one);
  });
}

std::string names_of(const fd_set& set, std::initializer_list<std::pair<int, const char*>> files) {
  std::string names;
  for (const auto& [fd, name] : files) {
    if (FD_ISSET(fd, &set)) names += name;
  }
  return names.empty() ? "none" : names;
}

// As the kernel takes them: the limit's rest is written back, the signals stand behind a pointer.
void selects_by_number() {
  both_ways([](int fd) {
    int ends[2];
    must("pipe", pipe(ends));
    const int count = std::max({fd, ends[0], ends[1]}) + 1;
    fd_set read_set;
    fd_set write_set;
    const auto set_all = [&] {
      FD_ZERO(&read_set);
      FD_ZERO(&write_set);
      for (const int one : {fd, ends[0]}) FD_SET(one, &read_set);
      FD_SET(fd, &write_set);
    };
    const auto said_sets = [&] {
      note("read %s, write %s", names_of(read_set, {{fd, "socket"}, {ends[0], "pipe"}}).c_str(),
           names_of(write_set, {{fd, "socket"}}).c_str());
    };
    set_all();
    timeval limit = {60, 1'000'000};
    said("select", syscall(SYS_select, count, &read_set, &write_set, nullptr, &limit));
    said_sets();
    note("left over: %d", limit.tv_sec == 60 && limit.tv_usec < 1'000'000);
    set_all();
    limit = {0, 1'000};
    said("select", syscall(SYS_select, count, &read_set, nullptr, nullptr, &limit));
    said_sets();
    note("left %ld.%06ld", limit.tv_sec, limit.tv_usec);
    peer_said("text 1 abc");
    set_all();
    said("select", syscall(SYS_select, count, &read_set, nullptr, nullptr, nullptr));
    said_sets();
    set_all();
    sigset_t none;
    sigemptyset(&none);
    struct {
      const void* set;
      size_t bytes;
    } signals = {&none, 8};
    timespec exact = {60, 0};
    said("pselect6",
         syscall(SYS_pselect6, count, &read_set, &write_set, nullptr, &exact, &signals));
    said_sets();
    note("left over: %d", exact.tv_sec == 59);
    signals.bytes = sizeof none;
    set_all();
    said("pselect6, a set of libc's size",
         syscall(SYS_pselect6, count, &read_set, nullptr, nullptr, &exact, &signals));
    signals = {nullptr, 3};
    said("pselect6, no set",
         syscall(SYS_pselect6, count, &read_set, nullptr, nullptr, &exact, &signals));
    said_sets();
    limit = {-1, 0};
    said("select, no time", syscall(SYS_select, count, &read_set, nullptr, nullptr, &limit));
    exact = {1, 1'000'000'000};
    said("pselect6, no time",
         syscall(SYS_pselect6, count, &read_set, nullptr, nullptr, &exact, nullptr));
    note("%ld.%ld", exact.tv_sec, exact.tv_nsec);
    said("select, no memory", syscall(SYS_select, count, bad_pointer(), nullptr, nullptr, nullptr));
    said("select, no memory",
         syscall(SYS_select, count, &read_set, nullptr, nullptr, bad_pointer()));
    said("pselect6, no memory",
         syscall(SYS_pselect6, count, &read_set, nullptr, nullptr, nullptr, bad_pointer()));
    said("ppoll, no memory", syscall(SYS_ppoll, nullptr, 0, bad_pointer(), nullptr, 8));
    said_sets();
    close(ends[0]);
    FD_ZERO(&read_set);
    FD_SET(ends[0], &read_set);
    FD_SET(fd, &read_set);
    said("select, closed", syscall(SYS_select, count, &read_set, nullptr, nullptr, nullptr));
    close(ends[1]);
  });
}

// A handler ends a call that waits, be it for a pipe or for a bypassed socket.
void interrupted_by_number() {
  both_ways([](int fd) {
    int ends[2];
    must("pipe", pipe(ends));
    on_signal(SIGALRM, count_signal, 0);
    for (const int from : {ends[0], fd}) {
      char data[4];
      alarm_every_ms(5);
      said("read", syscall(SYS_read, from, data, sizeof data));
      pollfd one = {from, POLLIN, 0};
      said("poll", syscall(SYS_poll, &one, 1, -1));
      fd_set set;
      FD_ZERO(&set);
      FD_SET(from, &set);
      said("select", syscall(SYS_select, from + 1, &set, nullptr, nullptr, nullptr));
      said("pselect6", syscall(SYS_pselect6, from + 1, &set, nullptr, nullptr, nullptr, nullptr));
      no_alarm();
    }
    close(ends[0]);
    close(ends[1]);
  });
}

void exchanged(int fd) {
  char data[8] = {};
  said("send", send(fd, "hello", 5, 0));
  peer_said("recv 1 5");
  peer_said("text 1 abc");
  said_data("recv", recv(fd, data, sizeof data, 0), data);
}

void forks_by_number() {
  both_ways([](int fd) {
    const auto with_child = [fd](const char* what, long child) {
      if (child == 0) {
        note("-- %s: child", what);
        exchanged(fd);
        const int own = connected(2);
        said("send", send(own, "hello", 5, 0));
        peer_said("recv 2 5");
        fflush(stdout);
        _exit(7);
      }
      int status = 0;
      must("waitpid", waitpid(static_cast<pid_t>(child), &status, 0));
      note("-- %s: parent, after status %d", what, WEXITSTATUS(status));
      exchanged(fd);
    };
    fflush(stdout);
    with_child("fork", syscall(SYS_fork));
    fflush(stdout);
    with_child("clone", syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0));
  });
}

constexpr Scenario kScenarios[] = {
    {"connect_by_number", Proof::kTcp, connect_by_number},
    {"accept_by_number", Proof::kTcp, accept_by_number},
    {"transfers_by_number", Proof::kTcp, transfers_by_number},
    {"datagrams_by_number", Proof::kUdp, datagrams_by_number},
    {"waits_by_number", Proof::kTcp, waits_by_number},
    {"selects_by_number", Proof::kTcp, selects_by_number},
    {"interrupted_by_number", Proof::kTcp, interrupted_by_number},
    {"forks_by_number", Proof::kTcpHybrid, forks_by_number},
};

}  // namespace

int main(int argc, char** argv) { return scenario::main(argc, argv, kScenarios); }
