// urgent.cpp - urgent data (MSG_OOB) and the low water mark of reading (SO_RCVLOWAT)
#include <linux/sockios.h>

#include <algorithm>

#include "scenario.h"

using namespace scenario;

namespace {

// Where FIONREAD does not count it: at the mark.
void let_it_come() { usleep(20000); }

void said_mark(int fd) {
  int at_mark = -1;
  said("SIOCATMARK", ioctl(fd, SIOCATMARK, &at_mark));
  note("at mark %d, sockatmark %d, FIONREAD %d", at_mark, sockatmark(fd), unread(fd));
}

long receive_urgent(const char* call, int fd, int flags = 0, size_t room = 1) {
  char byte[8] = {};
  iovec piece{byte, room};
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  const long got = recvmsg(fd, &header, MSG_OOB | flags);
  const int code = errno;
  said_data(call, got, byte);
  note("flags %x", static_cast<unsigned>(header.msg_flags));
  errno = code;
  return got;
}

void one_byte() {
  both_ways([](int fd) {
    char buffer[32] = {};
    receive_urgent("none", fd);
    said_mark(fd);
    peer_said("text 1 abc");
    await_unread(fd, 3);
    peer_said("oob 1 de!");
    await(fd, POLLPRI);
    await_unread(fd, 5);
    said_mark(fd);
    receive_urgent("peek", fd, MSG_PEEK);
    receive_urgent("no room", fd, MSG_PEEK, 0);
    said_data("to the mark", recv(fd, buffer, sizeof buffer, 0), buffer);
    said_mark(fd);
    said_poll(fd);
    receive_urgent("recv OOB", fd);
    receive_urgent("again", fd);
    said_mark(fd);
    said_poll(fd);
    said("recv DONTWAIT", recv(fd, buffer, sizeof buffer, MSG_DONTWAIT));
    said_mark(fd);
    receive_urgent("behind it", fd);
    peer_said("text 1 fgh");
    await_unread(fd, 3);
    said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
  });
}

void passed_over() {
  both_ways([](int fd) {
    char buffer[32] = {};
    peer_said("oob 1 ab!");
    await(fd, POLLPRI);
    peer_said("text 1 cdef");
    await_unread(fd, 2);
    let_it_come();
    said_mark(fd);
    said_data("peek", recv(fd, buffer, sizeof buffer, MSG_PEEK), buffer);
    said_data("recv 1", recv(fd, buffer, 1, 0), buffer);
    said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
    said_mark(fd);
    said_data("peek at the mark", recv(fd, buffer, sizeof buffer, MSG_PEEK), buffer);
    said_mark(fd);
    said_data("recv behind", recv(fd, buffer, 2, 0), buffer);
    said_mark(fd);
    said_poll(fd);
    receive_urgent("it is gone", fd);
    said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
  });
}

void left_in_the_stream() {
  both_ways([](int fd) {
    char buffer[32] = {};
    set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1);
    peer_said("oob 1 ab!");
    await(fd, POLLPRI);
    peer_said("text 1 cd");
    await_unread(fd, 5);
    receive_urgent("recv OOB", fd);
    said_mark(fd);
    said_poll(fd);
    said_data("peek", recv(fd, buffer, sizeof buffer, MSG_PEEK), buffer);
    said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
    said_mark(fd);
    said_poll(fd);
    said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
    said_mark(fd);
    said_poll(fd);
    note("-- switched while it is there");
    peer_said("oob 1 ab!");
    await(fd, POLLPRI);
    await_unread(fd, 3);
    set_option(fd, SOL_SOCKET, SO_OOBINLINE, 0);
    note("FIONREAD %d", unread(fd));
    receive_urgent("recv OOB", fd);
    set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1);
    said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
    said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
    said_mark(fd);
  });
}

void one_after_the_other() {
  both_ways([](int fd) {
    char buffer[32] = {};
    peer_said("oob 1 a1");
    await(fd, POLLPRI);
    peer_said("oob 1 b2");
    await_unread(fd, 3);
    let_it_come();
    said_mark(fd);
    receive_urgent("the newer", fd);
    said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
    said_mark(fd);
    note("-- at the mark of the first");
    peer_said("oob 1 3");
    await(fd, POLLPRI);
    said_mark(fd);
    peer_said("oob 1 4");
    let_it_come();
    said_mark(fd);
    receive_urgent("the newer", fd);
    said_mark(fd);
    peer_said("text 1 xyz");
    let_it_come();
    said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
    said_mark(fd);
  });
}

void alone_in_the_stream() {
  both_ways([](int fd) {
    char buffer[8] = {};
    peer_said("oob 1 !");
    await(fd, POLLPRI);
    said_mark(fd);
    note("FIONREAD %d", unread(fd));
    set_timeout(fd, SO_RCVTIMEO, 20);
    said("recv", recv(fd, buffer, sizeof buffer, 0));
    said_poll(fd);
    said_mark(fd);
    peer_said("oob 1 !");
    await(fd, POLLPRI);
    peer_said("shut 1 1");
    await(fd, POLLRDHUP);
    receive_urgent("after the end", fd);
    said("recv", recv(fd, buffer, sizeof buffer, 0));
    receive_urgent("none", fd);
  });
}

void wait_stops_at_the_mark() {
  both_ways([](int fd) {
    char buffer[32] = {};
    long result = 0;
    peer_said("text 1 abc");
    {
      Worker worker([&] { result = recv(fd, buffer, 10, MSG_WAITALL); });
      worker.await_blocked();
      peer_said("oob 1 de!");
      note("done %d", worker.await_done());
      worker.join();
    }
    said_data("recv WAITALL", result, buffer);
    said_mark(fd);
    peer_said("text 1 fgh");
    let_it_come();
    said_data("recv", recv(fd, buffer, 3, MSG_WAITALL), buffer);
  });
}

void sent() {
  both_ways([](int fd) {
    said("send OOB", send(fd, "ab!", 3, MSG_OOB));
    peer_said("awaitpri 1");
    peer_said("atmark 1");
    peer_said("recv 1 2");
    peer_said("atmark 1");
    peer_said("recvoob 1");
    said("send", send(fd, "cd", 2, 0));
    peer_said("recv 1 2");
    note("-- behind what waits for company");
    said("send MORE", send(fd, "ef", 2, MSG_MORE));
    said("send OOB", send(fd, "!", 1, MSG_OOB));
    peer_said("awaitpri 1");
    peer_said("recvoob 1");
    peer_said("recv 1 2");
    note("-- much");
    const std::string much = pattern(20000);
    said("send OOB", send(fd, much.data(), much.size(), MSG_OOB));
    peer_said("recv 1 19999");
    peer_said("awaitpri 1");
    peer_said("recvoob 1");
    note("-- nothing");
    said("send OOB", send(fd, "", 0, MSG_OOB));
    said("sendmsg MORE", send(fd, "gh", 2, MSG_OOB | MSG_MORE));
    peer_said("awaitpri 1");
    peer_said("recvoob 1");
    peer_said("recv 1 1");
  });
}

void epoll_tells_urgent_data() {
  both_ways([](int fd) {
    const int set = must("epoll_create1", epoll_create1(0));
    epoll_event event{};
    event.events = EPOLLPRI | EPOLLET;
    must("add", epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
    epoll_event got{};
    said("nothing", epoll_wait(set, &got, 1, 0));
    peer_said("text 1 abc");
    await_unread(fd, 3);
    said("plain data", epoll_wait(set, &got, 1, 20));
    peer_said("oob 1 d!");
    said("urgent data", epoll_wait(set, &got, 1, kLimitMs));
    note("%s", event_names(got.events).c_str());
    usleep(20000);
    epoll_wait(set, &got, 1, 0);
    said("once", epoll_wait(set, &got, 1, 20));
    char byte = 0;
    said("recv OOB", recv(fd, &byte, 1, MSG_OOB));
    fd_set exceptional;
    FD_ZERO(&exceptional);
    FD_SET(fd, &exceptional);
    timeval now{};
    said("select", select(fd + 1, nullptr, nullptr, &exceptional, &now));
    peer_said("oob 1 e!");
    FD_SET(fd, &exceptional);
    timeval limit{kLimitMs / 1000, 0};
    said("select", select(fd + 1, nullptr, nullptr, &exceptional, &limit));
    close(set);
  });
}

void sigurg() {
  both_ways([](int fd) {
    on_signal(SIGURG, count_signal, 0);
    peer_said("oob 1 !");
    await(fd, POLLPRI);
    note("nobody is told: %d", signals_seen.load());
    said("F_SETOWN", fcntl(fd, F_SETOWN, getpid()));
    peer_said("oob 1 !");
    note("told: %d", eventually([] { return signals_seen == 1; }));
    f_owner_ex thread{F_OWNER_TID, gettid()};
    said("F_SETOWN_EX", fcntl(fd, F_SETOWN_EX, &thread));
    peer_said("oob 1 !");
    note("told: %d", eventually([] { return signals_seen == 2; }));
    said("F_SETOWN", fcntl(fd, F_SETOWN, 0));
    peer_said("oob 1 !");
    usleep(20000);
    note("seen: %d", signals_seen.load());
    signal(SIGURG, SIG_DFL);
  });
}

void of_an_unconnected_socket() {
  const int fd = tcp();
  said("send OOB", send(fd, "!", 1, MSG_OOB | MSG_NOSIGNAL));
  receive_urgent("recv OOB", fd);
  note("sockatmark %d", sockatmark(fd));
  close(fd);
  const int listener = listening();
  receive_urgent("of a listener", listener);
  note("sockatmark %d %s", sockatmark(listener), errno_name(errno));
  close(listener);
}

// ---- SO_RCVLOWAT

int low_water(int fd) {
  int value = -1;
  socklen_t length = sizeof value;
  must("SO_RCVLOWAT", getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &value, &length));
  return value;
}

void low_water_of_poll() {
  both_ways([](int fd) {
    set_option(fd, SOL_SOCKET, SO_RCVLOWAT, 5);
    const int set = must("epoll_create1", epoll_create1(0));
    epoll_event event{};
    event.events = EPOLLIN | EPOLLET;
    must("add", epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
    peer_said("text 1 abc");
    await_unread(fd, 3);
    said_poll(fd);
    said("epoll", epoll_wait(set, &event, 1, 20));
    peer_said("text 1 de");
    await(fd, POLLIN);
    said("epoll", epoll_wait(set, &event, 1, kLimitMs));
    char buffer[16] = {};
    said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
    peer_said("text 1 abc");
    await_unread(fd, 3);
    said_poll(fd);
    set_option(fd, SOL_SOCKET, SO_RCVLOWAT, 2);
    said_poll(fd);
    said("epoll after less is asked", epoll_wait(set, &event, 1, 20));
    set_option(fd, SOL_SOCKET, SO_RCVLOWAT, 100);
    said_poll(fd);
    said_data("recv DONTWAIT", recv(fd, buffer, sizeof buffer, MSG_DONTWAIT), buffer);
    peer_said("text 1 abc");
    peer_said("shut 1 1");
    await(fd, POLLRDHUP);
    said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
    said("recv", recv(fd, buffer, sizeof buffer, 0));
    close(set);
  });
}

void low_water_of_recv() {
  both_ways([](int fd) {
    set_option(fd, SOL_SOCKET, SO_RCVLOWAT, 5);
    char buffer[16] = {};
    long result = 0;
    {
      Worker worker([&] { result = recv(fd, buffer, sizeof buffer, 0); });
      worker.await_blocked();
      peer_said("text 1 abc");
      usleep(20000);
      note("done %d", worker.done());
      peer_said("text 1 de");
      worker.join();
    }
    said_data("recv", result, buffer);
    set_timeout(fd, SO_RCVTIMEO, 30);
    peer_said("text 1 abc");
    said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
    said("recv", recv(fd, buffer, sizeof buffer, 0));
    peer_said("text 1 abc");
    await_unread(fd, 3);
    said_data("recv less", recv(fd, buffer, 2, 0), buffer);
    said_data("peek", recv(fd, buffer, sizeof buffer, MSG_PEEK | MSG_DONTWAIT), buffer);
    said_data("recv", recv(fd, buffer, 1, 0), buffer);
  });
}

void low_water_limits() {
  const int fd = tcp();
  for (const int value : {0, 1, 100, 1 << 20, 1 << 30, -1}) {
    said("SO_RCVLOWAT", setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof value));
    note("%d", low_water(fd));
  }
  close(fd);
  both_ways([](int connection) {
    set_option(connection, SOL_SOCKET, SO_RCVLOWAT, 77);
    note("%d", low_water(connection));
  });
  note("-- inherited");
  const int listener = listening();
  set_option(listener, SOL_SOCKET, SO_RCVLOWAT, 4);
  set_option(listener, SOL_SOCKET, SO_OOBINLINE, 1);
  ask("connect 1 %d", port_of(listener));
  const int accepting = must("accept", accept(listener, nullptr, nullptr));
  answer();
  note("%d", low_water(accepting));
  peer_said("text 1 abc");
  await_unread(accepting, 3);
  said_poll(accepting);
  peer_said("oob 1 !");
  await(accepting, POLLPRI);
  await_unread(accepting, 4);
  close(accepting);
  close(listener);
}

constexpr Scenario kScenarios[] = {
    {"urgent_one_byte", Proof::kTcp, one_byte},
    {"urgent_passed_over", Proof::kTcp, passed_over},
    {"urgent_left_in_the_stream", Proof::kTcp, left_in_the_stream},
    {"urgent_one_after_the_other", Proof::kTcp, one_after_the_other},
    {"urgent_alone_in_the_stream", Proof::kTcp, alone_in_the_stream},
    {"urgent_wait_stops_at_the_mark", Proof::kTcp, wait_stops_at_the_mark},
    {"urgent_sent", Proof::kTcp, sent},
    {"urgent_epoll", Proof::kTcp, epoll_tells_urgent_data},
    {"urgent_sigurg", Proof::kTcp, sigurg},
    {"urgent_unconnected", Proof::kNone, of_an_unconnected_socket},
    {"low_water_of_poll", Proof::kTcp, low_water_of_poll},
    {"low_water_of_recv", Proof::kTcp, low_water_of_recv},
    {"low_water_limits", Proof::kTcp, low_water_limits},
};

}  // namespace

int main(int argc, char** argv) { return scenario::main(argc, argv, kScenarios); }
