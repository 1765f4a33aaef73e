// waiting.cpp - poll, ppoll, select, pselect and epoll over sockets, pipes, events and timers
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include <algorithm>

#include "scenario.h"

using namespace scenario;

namespace {

std::string names(short events) { return event_names(static_cast<uint16_t>(events)); }

// ---- poll

void poll_states() {
  both_ways([](int fd) {
    said_poll(fd);
    said_poll(fd, POLLIN);
    said_poll(fd, POLLIN | POLLRDNORM | POLLRDBAND | POLLWRNORM | POLLWRBAND | POLLPRI | POLLOUT);
    said_poll(fd, 0);
    peer_said("text 1 hello");
    await(fd, POLLIN);
    said_poll(fd, POLLOUT);
    said_poll(fd, POLLIN | POLLRDNORM | POLLRDBAND | POLLWRNORM | POLLWRBAND | POLLPRI);
    said_poll(fd, POLLRDNORM);
    said_poll(fd, POLLWRNORM);
    said_poll(fd, 0);
    char buffer[16];
    said("recv", recv(fd, buffer, 2, 0));
    said_poll(fd, POLLIN);
    said("recv", recv(fd, buffer, sizeof buffer, 0));
    said_poll(fd, POLLIN);
    peer_said("shut 1 1");
    await(fd, POLLRDHUP);
    said_poll(fd, POLLIN);
    said_poll(fd, POLLRDHUP);
    said_poll(fd, 0);
    said("shutdown", shutdown(fd, SHUT_WR));
    await(fd, POLLHUP);
    said_poll(fd, 0);
    said_poll(fd, POLLOUT);
  });
}

void poll_after_reset() {
  both_ways([](int fd) {
    peer_said("reset 1");
    await(fd, POLLERR);
    said_poll(fd, 0);
    said_poll(fd, POLLIN);
    said_poll(fd, POLLOUT);
    said_poll(fd, POLLRDHUP);
    said_so_error(fd);
    said_poll(fd, 0);
    said_poll(fd);
  });
}

void poll_fresh_sockets() {
  const int fresh = tcp();
  said_poll(fresh);
  Name address = mine();
  said("bind", bind(fresh, plain(address), size(address)));
  said_poll(fresh);
  said("listen", listen(fresh, 4));
  said_poll(fresh);
  peer("connect 1 %d", port_of(fresh));
  await(fresh, POLLIN);
  close(fresh);
  said_poll(fresh);
  const int datagram = udp();
  said_poll(datagram);
  said("bind", bind(datagram, plain(address), size(address)));
  said_poll(datagram);
  close(datagram);
}

// Every kind of file in one set.
void poll_mixed() {
  both_ways([](int fd) {
    int ends[2];
    must("pipe", pipe(ends));
    const int event = eventfd(0, EFD_CLOEXEC);
    const int timer = timerfd_create(CLOCK_MONOTONIC, 0);
    int unix_ends[2];
    must("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, unix_ends));
    pollfd set[] = {{ends[0], POLLIN, 0},
                    {fd, POLLIN, 0},
                    {event, POLLIN, 0},
                    {-1, POLLIN, 9},
                    {timer, POLLIN, 0},
                    {unix_ends[0], POLLIN, 0},
                    {unix_ends[1], POLLOUT, 0},
                    {fd, POLLOUT, 0},
                    {777, POLLIN, 0}};
    constexpr nfds_t kAll = 9;
    constexpr nfds_t kWithoutBad = 6;
    const auto said_set = [&](long result) {
      std::string line;
      for (const pollfd& one : set) line += names(one.revents) + " ";
      note("poll = %ld: %s", result, line.c_str());
    };
    said_set(poll(set, kAll, -1));
    said_set(poll(set, kWithoutBad, 0));
    said_set(poll(set, kWithoutBad, 5));
    peer_said("text 1 x");
    said_set(poll(set, kWithoutBad, kLimitMs));
    char byte;
    said("recv", recv(fd, &byte, 1, 0));
    said("write", write(ends[1], "x", 1));
    said_set(poll(set, kWithoutBad, kLimitMs));
    said("read", read(ends[0], &byte, 1));
    eventfd_write(event, 1);
    said_set(poll(set, kWithoutBad, kLimitMs));
    eventfd_t value = 0;
    eventfd_read(event, &value);
    const itimerspec soon{{0, 0}, {0, 2000000}};
    timerfd_settime(timer, 0, &soon, nullptr);
    said_set(poll(set, kWithoutBad, kLimitMs));
    uint64_t ticks = 0;
    said("read", read(timer, &ticks, sizeof ticks));
    said("send", send(unix_ends[1], "x", 1, 0));
    said_set(poll(set, kWithoutBad, kLimitMs));
    close(unix_ends[1]);
    close(ends[1]);
    peer_said("text 1 x");
    await(fd, POLLIN);
    said_set(poll(set, kWithoutBad, kLimitMs));
    said("poll nothing", poll(nullptr, 0, 1));
    said("poll bad pointer", poll(static_cast<pollfd*>(bad_pointer()), 1, 0));
    for (const int one : {ends[0], event, timer, unix_ends[0]}) close(one);
  });
}

// A wait is ended by what comes while it sleeps, on either side.
void blocked_polls_wake() {
  both_ways([](int fd) {
    int ends[2];
    must("pipe", pipe(ends));
    const auto blocked = [&](const char* what, const std::function<void()>& cause) {
      pollfd set[] = {{ends[0], POLLIN, 0}, {fd, POLLIN | POLLRDHUP, 0}};
      int result = 0;
      Worker worker([&] { result = poll(set, 2, kLimitMs); });
      worker.await_blocked();
      cause();
      worker.join();
      note("%s: poll = %d: %s %s", what, result, names(set[0].revents).c_str(),
           names(set[1].revents).c_str());
    };
    char byte;
    blocked("peer's data", [] { peer("text 1 x"); });
    said("recv", recv(fd, &byte, 1, 0));
    blocked("pipe", [&] { must("write", static_cast<int>(write(ends[1], "x", 1))); });
    said("read", read(ends[0], &byte, 1));
    blocked("peer's FIN", [] { peer("shut 1 1"); });
    close(ends[0]);
    close(ends[1]);
  });
}

void wait_with_masks() {
  both_ways([](int fd) {
    on_signal(SIGUSR1, count_signal, SA_RESTART);
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigset_t before;
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    sigset_t open;
    sigemptyset(&open);
    const timespec limit{5, 0};
    const timespec none{0, 0};
    const auto seen = [] { note("signals seen %d", signals_seen.load()); };
    pollfd one{fd, POLLIN, 0};
    raise(SIGUSR1);
    said("ppoll", ppoll(&one, 1, &none, nullptr));
    seen();
    said("ppoll with mask", ppoll(&one, 1, &limit, &open));
    seen();
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    raise(SIGUSR1);
    said("pselect", pselect(fd + 1, &set, nullptr, nullptr, &limit, &open));
    note("set untouched %d", FD_ISSET(fd, &set) != 0);
    seen();
    const int epoll = epoll_create1(0);
    epoll_event event{EPOLLIN, {}};
    said("epoll_ctl", epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    raise(SIGUSR1);
    said("epoll_pwait", epoll_pwait(epoll, &event, 1, kLimitMs, &open));
    seen();
    raise(SIGUSR1);
    said("epoll_pwait2", epoll_pwait2(epoll, &event, 1, &limit, &open));
    seen();
    // Something is ready and a signal is pending: the events win.
    peer_said("text 1 x");
    await(fd, POLLIN);
    raise(SIGUSR1);
    said("ppoll", ppoll(&one, 1, &limit, &open));
    seen();
    said("epoll_pwait", epoll_pwait(epoll, &event, 1, kLimitMs, &open));
    seen();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    seen();
    close(epoll);
  });
}

void waits_are_interrupted() {
  both_ways([](int fd) {
    on_signal(SIGALRM, count_signal, SA_RESTART);
    alarm_every_ms(10);
    pollfd one{fd, POLLIN, 0};
    said("poll", poll(&one, 1, -1));
    said("poll for a time", poll(&one, 1, kLimitMs));
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    timeval limit{5, 0};
    said("select", select(fd + 1, &set, nullptr, nullptr, &limit));
    note("time was written back: %d", limit.tv_sec < 5);
    const int epoll = epoll_create1(0);
    epoll_event event{EPOLLIN, {}};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    said("epoll_wait", epoll_wait(epoll, &event, 1, -1));
    no_alarm();
    close(epoll);
  });
}

// ---- select

void said_sets(long result, int fd, const fd_set& in, const fd_set& out, const fd_set& except) {
  note("select = %ld: in %d out %d except %d", result, FD_ISSET(fd, &in) != 0,
       FD_ISSET(fd, &out) != 0, FD_ISSET(fd, &except) != 0);
}

void select_once(int fd, int limit_ms) {
  fd_set in;
  fd_set out;
  fd_set except;
  for (fd_set* set : {&in, &out, &except}) {
    FD_ZERO(set);
    FD_SET(fd, set);
  }
  timeval limit{0, limit_ms * 1000};
  const int result = select(fd + 1, &in, &out, &except, &limit);
  said_sets(result, fd, in, out, except);
}

void select_states() {
  both_ways([](int fd) {
    select_once(fd, 0);
    peer_said("text 1 x");
    await(fd, POLLIN);
    select_once(fd, 100);
    char byte;
    said("recv", recv(fd, &byte, 1, 0));
    select_once(fd, 0);
    peer_said("shut 1 1");
    await(fd, POLLRDHUP);
    select_once(fd, 0);
    shutdown(fd, SHUT_WR);
    await(fd, POLLHUP);
    select_once(fd, 0);
    fd_set in;
    FD_ZERO(&in);
    timeval limit{0, 2000};
    said("nothing", select(0, nullptr, nullptr, nullptr, &limit));
    note("%ld %ld", static_cast<long>(limit.tv_sec), static_cast<long>(limit.tv_usec));
    limit = {0, 1000};
    said("empty set", select(fd + 1, &in, nullptr, nullptr, &limit));
    FD_SET(fd, &in);
    FD_SET(100, &in);
    limit = {0, 0};
    said("a closed one", select(101, &in, nullptr, nullptr, &limit));
    note("untouched: %d %d", FD_ISSET(fd, &in) != 0, FD_ISSET(100, &in) != 0);
    said("negative count", select(-1, &in, nullptr, nullptr, &limit));
    limit = {-1, 0};
    said("negative time", select(fd + 1, &in, nullptr, nullptr, &limit));
  });
}

void select_after_reset() {
  both_ways([](int fd) {
    peer_said("reset 1");
    await(fd, POLLERR);
    select_once(fd, 0);
  });
}

// A count beyond the table of descriptors: what is behind its end is not looked at.
void select_behind_the_table() {
  both_ways([](int fd) {
    fd_set in;
    FD_ZERO(&in);
    FD_SET(fd, &in);
    FD_SET(900, &in);
    timeval limit{0, 0};
    said("nothing there", select(FD_SETSIZE, &in, nullptr, nullptr, &limit));
    note("fd %d behind %d", FD_ISSET(fd, &in) != 0, FD_ISSET(900, &in) != 0);
    FD_SET(fd, &in);
    ask("text 1 x");
    said("data", select(FD_SETSIZE, &in, nullptr, nullptr, nullptr));
    answer_said("text");
    note("fd %d behind %d", FD_ISSET(fd, &in) != 0, FD_ISSET(900, &in) != 0);
    FD_SET(100, &in);
    said("a closed one", select(FD_SETSIZE, &in, nullptr, nullptr, &limit));
    FD_CLR(100, &in);
  });
  // It never becomes smaller again.
  const int fd = connected();
  must("dup2", dup2(fd, 600));
  fd_set in;
  FD_ZERO(&in);
  FD_SET(900, &in);
  timeval limit{0, 0};
  said("the table is larger", select(FD_SETSIZE, &in, nullptr, nullptr, &limit));
  close(600);
  close(fd);
}

void select_mixed() {
  both_ways([](int fd) {
    int ends[2];
    must("pipe", pipe(ends));
    const int last = std::max(fd, ends[0]);
    for (int round = 0; round < 4; ++round) {
      const bool by_peer = round % 2 == 0;
      fd_set in;
      FD_ZERO(&in);
      FD_SET(fd, &in);
      FD_SET(ends[0], &in);
      int result = 0;
      Worker worker([&] { result = select(last + 1, &in, nullptr, nullptr, nullptr); });
      worker.await_blocked();
      if (by_peer) {
        peer("text 1 x");
      } else {
        must("write", static_cast<int>(write(ends[1], "x", 1)));
      }
      worker.join();
      note("select = %d: socket %d pipe %d", result, FD_ISSET(fd, &in) != 0,
           FD_ISSET(ends[0], &in) != 0);
      char byte;
      said("read", read(by_peer ? fd : ends[0], &byte, 1));
    }
    close(ends[0]);
    close(ends[1]);
  });
}

// ---- epoll

int add(int epoll, int fd, uint32_t events, uint64_t tag = 0) {
  epoll_event event{events, {}};
  event.data.u64 = tag == 0 ? static_cast<uint64_t>(fd) : tag;
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}
int modify(int epoll, int fd, uint32_t events) {
  epoll_event event{events, {}};
  event.data.u64 = static_cast<uint64_t>(fd);
  return epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
}

struct Named {
  uint64_t tag;
  const char* name;
};

// Waits, and prints what came in the order of the names.
void said_events(int epoll, std::initializer_list<Named> all, int limit_ms = 0, int room = 16) {
  epoll_event events[16];
  const int count = epoll_wait(epoll, events, room, limit_ms);
  if (count < 0) {
    said("epoll_wait", count);
    return;
  }
  std::string line;
  for (const Named& one : all) {
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 != one.tag) continue;
      line += std::string(" ") + one.name + ":" + event_names(events[i].events);
    }
  }
  note("epoll_wait = %d%s", count, line.c_str());
}
void said_events(int epoll, int fd, int limit_ms = 0) {
  said_events(epoll, {{static_cast<uint64_t>(fd), "it"}}, limit_ms);
}

// For sets of both kinds: a call may leave the kernel's files for the next one, shortly after.
void said_all_events(int epoll, std::initializer_list<Named> all, std::initializer_list<int> tags) {
  size_t seen = 0;
  bool stranger = false;
  std::vector<bool> had(8, false);
  const bool came = eventually([&] {
    epoll_event events[16];
    const int count = epoll_wait(epoll, events, 16, 0);
    for (int i = 0; i < count; ++i) {
      const auto tag = static_cast<size_t>(events[i].data.u64);
      const bool known = std::count(tags.begin(), tags.end(), static_cast<int>(tag)) != 0;
      stranger = stranger || !known;
      if (known && !had[tag]) ++seen;
      had[tag] = true;
    }
    return seen == tags.size();
  });
  std::string line;
  for (const Named& one : all) {
    if (had[one.tag]) line += std::string(" ") + one.name;
  }
  note("all came %d:%s, a stranger %d", came, line.c_str(), stranger);
}

void epoll_level() {
  both_ways([](int fd) {
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    said("add", add(epoll, fd, EPOLLIN | EPOLLRDHUP));
    said_events(epoll, fd);
    peer_said("text 1 hello");
    said_events(epoll, fd, kLimitMs);
    said_events(epoll, fd);
    char buffer[16];
    said("recv", recv(fd, buffer, 2, 0));
    said_events(epoll, fd);
    said("recv", recv(fd, buffer, sizeof buffer, 0));
    said_events(epoll, fd);
    said("mod", modify(epoll, fd, EPOLLOUT));
    said_events(epoll, fd);
    said("mod", modify(epoll, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI));
    said_events(epoll, fd);
    peer_said("shut 1 1");
    await(fd, POLLRDHUP);
    said_events(epoll, fd);
    said("mod", modify(epoll, fd, 0));
    said_events(epoll, fd);
    shutdown(fd, SHUT_WR);
    await(fd, POLLHUP);
    said_events(epoll, fd);
    said("del", epoll_ctl(epoll, EPOLL_CTL_DEL, fd, nullptr));
    said_events(epoll, fd);
    close(epoll);
  });
}

void epoll_edge() {
  both_ways([](int fd) {
    const int epoll = epoll_create1(0);
    char buffer[16];
    note("-- writable at once, and only once");
    said("add", add(epoll, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET));
    said_events(epoll, fd);
    said_events(epoll, fd);
    note("-- data");
    peer_said("text 1 hello");
    said_events(epoll, fd, kLimitMs);
    said_events(epoll, fd);
    said("recv part", recv(fd, buffer, 2, 0));
    said_events(epoll, fd);
    note("-- more data is a new edge");
    peer_said("text 1 more");
    said_events(epoll, fd, kLimitMs);
    said_events(epoll, fd);
    note("-- MOD arms again");
    said("mod", modify(epoll, fd, EPOLLIN | EPOLLET));
    said_events(epoll, fd);
    said_events(epoll, fd);
    said("recv", recv(fd, buffer, sizeof buffer, 0));
    said("mod", modify(epoll, fd, EPOLLIN | EPOLLRDHUP | EPOLLET));
    said_events(epoll, fd);
    note("-- FIN");
    peer_said("shut 1 1");
    said_events(epoll, fd, kLimitMs);
    said_events(epoll, fd);
    close(epoll);
  });
}

void epoll_edge_connect() {
  const int fd = tcp(SOCK_NONBLOCK);
  const int epoll = epoll_create1(0);
  Name address = theirs(number(peer("listen 0")));
  said("connect", connect(fd, plain(address), size(address)));
  said("add", add(epoll, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET));
  said_events(epoll, fd, kLimitMs);
  said_events(epoll, fd);
  said_so_error(fd);
  peer_said("accept 0 1");
  said("send", send(fd, "hello", 5, 0));
  peer_said("recv 1 5");
  peer_said("reset 1");
  await(fd, POLLERR);
  said_events(epoll, fd, kLimitMs);
  said_events(epoll, fd);
  close(fd);
  close(epoll);
}

// A fresh socket says HUP; the registration from before connect lives on.
void epoll_before_connect() {
  const int fd = tcp(SOCK_NONBLOCK);
  const int epoll = epoll_create1(0);
  said("add", add(epoll, fd, EPOLLIN | EPOLLOUT));
  said_events(epoll, fd);
  Name address = theirs(number(peer("listen 0")));
  said("connect", connect(fd, plain(address), size(address)));
  await(fd, POLLOUT);
  said_events(epoll, fd, kLimitMs);
  peer_said("accept 0 1");
  peer_said("text 1 x");
  await(fd, POLLIN);
  said_events(epoll, fd, kLimitMs);
  said("mod", modify(epoll, fd, EPOLLIN));
  said_events(epoll, fd);
  close(fd);
  said_events(epoll, fd);
  close(epoll);
}

void epoll_refused() {
  const int fd = tcp(SOCK_NONBLOCK);
  const int epoll = epoll_create1(0);
  Name address = theirs(number(peer("closed_port 0")));
  said("connect", connect(fd, plain(address), size(address)));
  said("add", add(epoll, fd, EPOLLOUT));
  said_events(epoll, fd, kLimitMs);
  said_events(epoll, fd);
  said_so_error(fd);
  said_events(epoll, fd);
  close(fd);
  close(epoll);
}

void epoll_one_shot() {
  both_ways([](int fd) {
    const int epoll = epoll_create1(0);
    char buffer[16];
    said("add", add(epoll, fd, EPOLLIN | EPOLLONESHOT));
    peer_said("text 1 hello");
    said_events(epoll, fd, kLimitMs);
    said_events(epoll, fd);
    peer_said("text 1 more");
    await_unread(fd, 9);
    said_events(epoll, fd);
    said("mod", modify(epoll, fd, EPOLLIN | EPOLLONESHOT));
    said_events(epoll, fd);
    said_events(epoll, fd);
    said("recv", recv(fd, buffer, sizeof buffer, 0));
    said("mod", modify(epoll, fd, EPOLLIN | EPOLLONESHOT));
    said_events(epoll, fd);
    peer_said("reset 1");
    await(fd, POLLERR);
    said_events(epoll, fd, kLimitMs);
    said_events(epoll, fd);
    close(epoll);
  });
}

void epoll_without_events() {
  both_ways([](int fd) {
    const int epoll = epoll_create1(0);
    said("add", add(epoll, fd, 0));
    peer_said("text 1 x");
    await(fd, POLLIN);
    said_events(epoll, fd);
    peer_said("reset 1");
    await(fd, POLLERR);
    said_events(epoll, fd);
    close(epoll);
  });
}

void epoll_refusals() {
  both_ways([](int fd) {
    epoll_event event{EPOLLIN, {}};
    said("epoll_create 0", epoll_create(0));
    said("epoll_create1 flags", epoll_create1(1));
    const int epoll = epoll_create(1);
    note("FD_CLOEXEC %d", fcntl(epoll, F_GETFD));
    said("mod unknown", epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event));
    said("del unknown", epoll_ctl(epoll, EPOLL_CTL_DEL, fd, &event));
    said("add", epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    said("add again", epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    said("add itself", epoll_ctl(epoll, EPOLL_CTL_ADD, epoll, &event));
    said("add closed", epoll_ctl(epoll, EPOLL_CTL_ADD, 888, &event));
    said("no epoll", epoll_ctl(fd, EPOLL_CTL_ADD, epoll, &event));
    said("closed epoll", epoll_ctl(888, EPOLL_CTL_ADD, fd, &event));
    said("op", epoll_ctl(epoll, 9, fd, &event));
    said("add NULL", epoll_ctl(epoll, EPOLL_CTL_MOD, fd, nullptr));
    const int regular = open("/etc/passwd", O_RDONLY);
    said("add a regular file", epoll_ctl(epoll, EPOLL_CTL_ADD, regular, &event));
    close(regular);
    said("maxevents 0", epoll_wait(epoll, &event, 0, 0));
    said("maxevents -1", epoll_wait(epoll, &event, minus_one, 0));
    said("wait on a socket", epoll_wait(fd, &event, 1, 0));
    said("wait on closed", epoll_wait(888, &event, 1, 0));
    said("timeout", epoll_wait(epoll, &event, 1, 5));
    said("del", epoll_ctl(epoll, EPOLL_CTL_DEL, fd, nullptr));
    said("del again", epoll_ctl(epoll, EPOLL_CTL_DEL, fd, nullptr));
    close(epoll);
  });
}

// close takes a socket out of the set, unless a dup keeps the file.
void epoll_close_and_dup() {
  both_ways([](int fd) {
    const int epoll = epoll_create1(0);
    const int other = dup(fd);
    said("add", add(epoll, fd, EPOLLIN));
    said("add the dup", add(epoll, other, EPOLLOUT));
    said_events(epoll, {{static_cast<uint64_t>(fd), "it"}, {static_cast<uint64_t>(other), "dup"}});
    peer_said("text 1 x");
    await(other, POLLIN);
    said_events(epoll, {{static_cast<uint64_t>(fd), "it"}, {static_cast<uint64_t>(other), "dup"}});
    said("close the dup", close(other));
    said_events(epoll, {{static_cast<uint64_t>(fd), "it"}, {static_cast<uint64_t>(other), "dup"}});
    const int last = dup(fd);
    said("close", close(fd));
    said_events(epoll, {{static_cast<uint64_t>(fd), "it"}, {static_cast<uint64_t>(other), "dup"}});
    said("dup2 back", dup2(last, fd) == fd);
    said("close", close(last));
    said("del", epoll_ctl(epoll, EPOLL_CTL_DEL, other, nullptr));
    said_events(epoll, {{static_cast<uint64_t>(fd), "it"}, {static_cast<uint64_t>(other), "dup"}});
    close(epoll);
  });
}

void epoll_close_removes() {
  const int epoll = epoll_create1(0);
  for (int round = 0; round < 3; ++round) {
    const int fd = round % 2 == 0 ? connected() : accepted();
    said("add", add(epoll, fd, EPOLLIN | EPOLLOUT));
    said_events(epoll, fd);
    close(fd);
    said_events(epoll, fd);
    peer("forget");
  }
  close(epoll);
}

// With room for few events everything ready has its turn.
void epoll_fairness() {
  const int epoll = epoll_create1(0);
  constexpr int kEach = 4;
  int pipes[kEach][2];
  int sockets[kEach];
  for (int i = 0; i < kEach; ++i) {
    must("pipe", pipe(pipes[i]));
    must("write", static_cast<int>(write(pipes[i][1], "x", 1)));
    sockets[i] = i % 2 == 0 ? connected(i + 1) : accepted(i + 1);
    peer("text %d x", i + 1);
    await(sockets[i], POLLIN);
    add(epoll, pipes[i][0], EPOLLIN, static_cast<uint64_t>(1000 + i));
    add(epoll, sockets[i], EPOLLIN, static_cast<uint64_t>(2000 + i));
  }
  for (const int room : {1, 3}) {
    int pipe_turns = 0;
    int socket_turns = 0;
    bool seen[2 * kEach] = {};
    for (int round = 0; round < 24; ++round) {
      epoll_event events[8];
      const int count = epoll_wait(epoll, events, room, 0);
      for (int i = 0; i < count; ++i) {
        const auto tag = static_cast<int>(events[i].data.u64);
        const bool is_socket = tag >= 2000;
        ++(is_socket ? socket_turns : pipe_turns);
        seen[tag % 1000 + (is_socket ? kEach : 0)] = true;
      }
    }
    note("room %d: all turns %d", room, pipe_turns + socket_turns);
    note("everybody had one: %d", std::count(std::begin(seen), std::end(seen), true) == 2 * kEach);
  }
  for (int i = 0; i < kEach; ++i) {
    close(sockets[i]);
    close(pipes[i][0]);
    close(pipes[i][1]);
  }
  close(epoll);
}

void epoll_mixed() {
  both_ways([](int fd) {
    const int epoll = epoll_create1(0);
    int ends[2];
    must("pipe", pipe(ends));
    const int event = eventfd(0, 0);
    const int timer = timerfd_create(CLOCK_MONOTONIC, 0);
    const auto all = {Named{1, "socket"}, Named{2, "pipe"}, Named{3, "event"}, Named{4, "timer"}};
    add(epoll, fd, EPOLLIN, 1);
    add(epoll, ends[0], EPOLLIN, 2);
    add(epoll, event, EPOLLIN, 3);
    add(epoll, timer, EPOLLIN, 4);
    said_events(epoll, all);
    must("write", static_cast<int>(write(ends[1], "x", 1)));
    said_events(epoll, all, kLimitMs);
    peer_said("text 1 x");
    await(fd, POLLIN);
    said_all_events(epoll, all, {1, 2});
    eventfd_write(event, 1);
    said_all_events(epoll, all, {1, 2, 3});
    char byte;
    said("recv", recv(fd, &byte, 1, 0));
    said("read", read(ends[0], &byte, 1));
    eventfd_t value;
    eventfd_read(event, &value);
    said_events(epoll, all);
    const itimerspec soon{{0, 0}, {0, 2000000}};
    timerfd_settime(timer, 0, &soon, nullptr);
    said_events(epoll, all, kLimitMs);
    close(timer);
    said_events(epoll, all);
    for (const int one : {ends[0], ends[1], event, epoll}) close(one);
  });
}

void blocked_epoll_wakes() {
  both_ways([](int fd) {
    const int epoll = epoll_create1(0);
    int ends[2];
    must("pipe", pipe(ends));
    add(epoll, ends[0], EPOLLIN, 2);
    const auto blocked = [&](const char* what, const std::function<void()>& cause) {
      epoll_event event{};
      int result = 0;
      Worker worker([&] { result = epoll_wait(epoll, &event, 1, kLimitMs); });
      worker.await_blocked();
      cause();
      worker.join();
      note("%s: epoll_wait = %d: %d %s", what, result, static_cast<int>(event.data.u64),
           event_names(event.events).c_str());
    };
    char byte;
    blocked("ADD of a writable socket", [&] { add(epoll, fd, EPOLLOUT, 1); });
    epoll_event in{EPOLLIN, {}};
    in.data.u64 = 1;
    said("mod", epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &in));
    blocked("peer's data", [] { peer("text 1 x"); });
    said("recv", recv(fd, &byte, 1, 0));
    blocked("pipe", [&] { must("write", static_cast<int>(write(ends[1], "x", 1))); });
    said("read", read(ends[0], &byte, 1));
    blocked("MOD to writable", [&] {
      epoll_event out{EPOLLOUT, {}};
      out.data.u64 = 1;
      epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &out);
    });
    said("mod", epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &in));
    blocked("peer's reset", [] { peer("reset 1"); });
    for (const int one : {ends[0], ends[1], epoll}) close(one);
  });
}

void epoll_two_sets() {
  both_ways([](int fd) {
    const int first = epoll_create1(0);
    const int second = epoll_create1(0);
    said("add", add(first, fd, EPOLLIN));
    said("add", add(second, fd, EPOLLIN | EPOLLET));
    peer_said("text 1 x");
    said_events(first, fd, kLimitMs);
    said_events(second, fd, kLimitMs);
    said_events(first, fd);
    said_events(second, fd);
    said("del", epoll_ctl(first, EPOLL_CTL_DEL, fd, nullptr));
    said_events(first, fd);
    peer_said("text 1 y");
    await_unread(fd, 2);
    said_events(first, fd);
    said_events(second, fd, kLimitMs);
    close(first);
    close(second);
  });
}

// An epoll descriptor is itself a file that can be waited for.
// What a thread that waits on a set of its own says when it is woken.
std::string woken(int set) {
  epoll_event event{};
  const int got = epoll_wait(set, &event, 1, 300);
  return got < 1 ? "nothing" : event_names(event.events);
}

// Two sets, a thread at each: of data one is told, of the end both. A set at which nobody waits
// keeps it for later.
void epoll_exclusive() {
  both_ways([](int fd) {
    const int first = epoll_create1(0);
    const int second = epoll_create1(0);
    const int idle = epoll_create1(0);
    for (const int set : {idle, first, second}) said("add", add(set, fd, EPOLLIN | EPOLLEXCLUSIVE));
    for (const char* news : {"text 1 x", "text 1 y", "shut 1 1"}) {
      std::string said_by_first;
      std::string said_by_second;
      std::thread one([&] { said_by_first = woken(first); });
      usleep(50'000);
      std::thread other([&] { said_by_second = woken(second); });
      usleep(50'000);
      peer_said("%s", news);
      one.join();
      other.join();
      note("%s, %s", said_by_first.c_str(), said_by_second.c_str());
      char buffer[8];
      said("recv", recv(fd, buffer, sizeof buffer, MSG_DONTWAIT));
    }
    note("idle: %s", woken(idle).c_str());
    for (const int set : {first, second, idle}) close(set);
  });
}

void epoll_exclusive_refusals() {
  both_ways([](int fd) {
    const int set = epoll_create1(0);
    const int inner = epoll_create1(0);
    said("ONESHOT", add(set, fd, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT));
    said("RDHUP", add(set, fd, EPOLLIN | EPOLLEXCLUSIVE | EPOLLRDHUP));
    said("a set", add(set, inner, EPOLLIN | EPOLLEXCLUSIVE));
    said("add", add(set, fd, EPOLLIN | EPOLLEXCLUSIVE | EPOLLET));
    said("again", add(set, fd, EPOLLIN | EPOLLEXCLUSIVE | EPOLLET));
    epoll_event event{};
    event.events = EPOLLIN | EPOLLEXCLUSIVE;
    said("mod", epoll_ctl(set, EPOLL_CTL_MOD, fd, &event));
    event.events = EPOLLIN;
    said("mod of an exclusive one", epoll_ctl(set, EPOLL_CTL_MOD, fd, &event));
    event.events = EPOLLIN | EPOLLEXCLUSIVE;
    said("del", epoll_ctl(set, EPOLL_CTL_DEL, fd, &event));
    said("add", add(set, fd, EPOLLIN));
    said("mod", epoll_ctl(set, EPOLL_CTL_MOD, fd, &event));
    close(set);
    close(inner);
  });
}

void epoll_nested() {
  both_ways([](int fd) {
    const int inner = epoll_create1(0);
    const int outer = epoll_create1(0);
    said("add", add(inner, fd, EPOLLIN));
    said("add", add(outer, inner, EPOLLIN));
    said_poll(inner, POLLIN);
    said_events(outer, inner);
    peer_said("text 1 x");
    await(fd, POLLIN);
    said_poll(inner, POLLIN);
    said_events(outer, inner, kLimitMs);
    select_once(inner, 0);
    said_events(inner, fd);
    char byte;
    said("recv", recv(fd, &byte, 1, 0));
    said_poll(inner, POLLIN);
    said_events(outer, inner);
    int result = 0;
    pollfd one{inner, POLLIN, 0};
    Worker worker([&] { result = poll(&one, 1, kLimitMs); });
    worker.await_blocked();
    peer_said("text 1 x");
    worker.join();
    note("blocked poll = %d %s", result, names(one.revents).c_str());
    close(inner);
    said_events(outer, inner);
    close(outer);
  });
}

void epoll_listener() {
  const int epoll = epoll_create1(0);
  const int fd = listening(anywhere(), 8, SOCK_NONBLOCK);
  said("add", add(epoll, fd, EPOLLIN));
  said_events(epoll, fd);
  peer("connect 1 %d", port_of(fd));
  said_events(epoll, fd, kLimitMs);
  said_events(epoll, fd);
  worked("accept", accept(fd, nullptr, nullptr));
  said_events(epoll, fd);
  const int local = tcp();
  Name address = loopback(port_of(fd));
  said("connect over loopback", connect(local, plain(address), size(address)));
  said_events(epoll, fd, kLimitMs);
  worked("accept", accept(fd, nullptr, nullptr));
  said_events(epoll, fd);
  said("mod", modify(epoll, fd, EPOLLIN | EPOLLET));
  peer("connect 2 %d", port_of(fd));
  said_events(epoll, fd, kLimitMs);
  said_events(epoll, fd);
  peer("connect 3 %d", port_of(fd));
  said_events(epoll, fd, kLimitMs);
  said_events(epoll, fd);
  close(local);
  close(fd);
  close(epoll);
}

// The set is full of bytes to send: writable again when the peer has read.
void epoll_writable_again() {
  both_ways([](int fd) {
    const int epoll = epoll_create1(0);
    set_nonblocking(fd, true);
    said("add", add(epoll, fd, EPOLLOUT | EPOLLET));
    said_events(epoll, fd);
    size_t total = fill_all(fd);
    // The last word is a send that found no room: only then there is an edge to come.
    for (size_t more = 1; more != 0; total += more) {
      epoll_event event;
      while (epoll_wait(epoll, &event, 1, 0) > 0) {
      }
      more = fill(fd);
    }
    ask("recv 1 %zu", total);
    said_events(epoll, fd, kLimitMs);
    const std::string got = answer();
    note("all arrived: %d", strtoull(got.c_str(), nullptr, 10) == total);
    close(epoll);
  });
}

constexpr Scenario kScenarios[] = {
    {"poll_states", Proof::kTcp, poll_states},
    {"poll_after_reset", Proof::kTcp, poll_after_reset},
    {"poll_fresh_sockets", Proof::kTcp, poll_fresh_sockets},
    {"poll_mixed", Proof::kTcp, poll_mixed},
    {"blocked_polls_wake", Proof::kTcp, blocked_polls_wake},
    {"wait_with_masks", Proof::kTcp, wait_with_masks},
    {"waits_are_interrupted", Proof::kTcp, waits_are_interrupted},
    {"select_states", Proof::kTcp, select_states},
    {"select_behind_the_table", Proof::kTcp, select_behind_the_table},
    {"select_after_reset", Proof::kTcp, select_after_reset},
    {"select_mixed", Proof::kTcp, select_mixed},
    {"epoll_level", Proof::kTcp, epoll_level},
    {"epoll_edge", Proof::kTcp, epoll_edge},
    {"epoll_edge_connect", Proof::kTcp, epoll_edge_connect},
    {"epoll_before_connect", Proof::kTcp, epoll_before_connect},
    {"epoll_refused", Proof::kTcp, epoll_refused},
    {"epoll_one_shot", Proof::kTcp, epoll_one_shot},
    {"epoll_without_events", Proof::kTcp, epoll_without_events},
    {"epoll_refusals", Proof::kTcp, epoll_refusals},
    {"epoll_close_and_dup", Proof::kTcp, epoll_close_and_dup},
    {"epoll_close_removes", Proof::kTcp, epoll_close_removes},
    {"epoll_fairness", Proof::kTcp, epoll_fairness},
    {"epoll_mixed", Proof::kTcp, epoll_mixed},
    {"blocked_epoll_wakes", Proof::kTcp, blocked_epoll_wakes},
    {"epoll_two_sets", Proof::kTcp, epoll_two_sets},
    {"epoll_exclusive", Proof::kTcp, epoll_exclusive},
    {"epoll_exclusive_refusals", Proof::kTcp, epoll_exclusive_refusals},
    {"epoll_nested", Proof::kTcp, epoll_nested},
    {"epoll_listener", Proof::kTcpHybrid, epoll_listener},
    {"epoll_writable_again", Proof::kTcp, epoll_writable_again},
};

}  // namespace

int main(int argc, char** argv) { return scenario::main(argc, argv, kScenarios); }
