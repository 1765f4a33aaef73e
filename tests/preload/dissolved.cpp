// dissolved.cpp - sockets whose connection never came to be, or was taken away: what they say then
#include "scenario.h"

using namespace scenario;

namespace {

Name unspecified() {
  Name address{};
  address.any.sa_family = AF_UNSPEC;
  return address;
}

void said_all(int fd) {
  said_poll(fd);
  said_sockname(fd);
  said_peername(fd);
}

void said_state(int fd) {
  tcp_info info{};
  socklen_t length = sizeof info;
  const int result = getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length);
  note("TCP_INFO = %d state %d", result, info.tcpi_state);
}

int connecting() {
  const int fd = tcp(SOCK_NONBLOCK);
  Name address = nobody();
  said("connect", connect(fd, plain(address), size(address)));
  return fd;
}

void shut_while_connecting() {
  for (const int how : {SHUT_RD, SHUT_WR, SHUT_RDWR}) {
    const int fd = connecting();
    said("shutdown", shutdown(fd, how));
    said_all(fd);
    said_state(fd);
    said_so_error(fd);
    said_so_error(fd);
    said_all(fd);
    Name address = theirs(number(peer("listen 0")));
    set_nonblocking(fd, false);
    said("connect", connect(fd, plain(address), size(address)));
    peer_said("accept 0 1");
    said("send", send(fd, "hello", 5, 0));
    peer_said("recv 1 5");
    close(fd);
  }
  const int fd = connecting();
  said("shutdown nonsense", shutdown(fd, 7));
  said("shutdown", shutdown(fd, SHUT_RD));
  said("shutdown again", shutdown(fd, SHUT_RD));
  said_poll(fd);
  close(fd);
}

void error_goes_to_the_next_call() {
  char byte = 'x';
  int fd = connecting();
  said("shutdown", shutdown(fd, SHUT_RDWR));
  said("send", send(fd, &byte, 1, MSG_NOSIGNAL));
  said("send", send(fd, &byte, 1, MSG_NOSIGNAL));
  said_all(fd);
  close(fd);
  fd = connecting();
  said("shutdown", shutdown(fd, SHUT_RDWR));
  said("recv OOB", recv(fd, &byte, 1, MSG_OOB));
  said("recv", recv(fd, &byte, 1, 0));
  said("recv", recv(fd, &byte, 1, 0));
  close(fd);
  fd = connecting();
  said("shutdown", shutdown(fd, SHUT_RDWR));
  Name address = theirs(number(peer("closed_port 0")));
  set_nonblocking(fd, false);
  said("connect", connect(fd, plain(address), size(address)));
  said_so_error(fd);
  close(fd);
}

void dissolved_by_unspec() {
  both_ways([](int fd) {
    Name address = unspecified();
    said("connect AF_UNSPEC", connect(fd, plain(address), size(address)));
    said_all(fd);
    said_state(fd);
    said_so_error(fd);
    said_so_error(fd);
    said_poll(fd);
    said("connect AF_UNSPEC", connect(fd, plain(address), size(address)));
    said_so_error(fd);
  });
  note("-- while connecting");
  const int fd = connecting();
  Name address = unspecified();
  said("connect AF_UNSPEC", connect(fd, plain(address), size(address)));
  said_all(fd);
  said_so_error(fd);
  said_poll(fd);
  close(fd);
}

void dissolved_in_a_set() {
  const int fd = connected();
  const int set = must("epoll_create1", epoll_create1(0));
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP;
  must("add", epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
  Name address = unspecified();
  said("connect AF_UNSPEC", connect(fd, plain(address), size(address)));
  epoll_event got{};
  said("epoll_wait", epoll_wait(set, &got, 1, kLimitMs));
  note("%s", event_names(got.events).c_str());
  said_so_error(fd);
  said("epoll_wait", epoll_wait(set, &got, 1, kLimitMs));
  note("%s", event_names(got.events).c_str());
  close(set);
  close(fd);
}

void dissolved_under_a_call() {
  int fd = connected();
  long result = 0;
  int code = 0;
  {
    Worker worker([&] {
      char byte;
      result = recv(fd, &byte, 1, 0);
      code = errno;
    });
    worker.await_blocked();
    Name address = unspecified();
    said("connect AF_UNSPEC", connect(fd, plain(address), size(address)));
    worker.join();
  }
  errno = code;
  said("recv", result);
  said_so_error(fd);
  close(fd);
  fd = tcp();
  {
    Worker worker([&] {
      Name address = nobody();
      result = connect(fd, plain(address), size(address));
      code = errno;
    });
    worker.await_blocked();
    said("shutdown", shutdown(fd, SHUT_RDWR));
    worker.join();
  }
  errno = code;
  said("connect", result);
  said_so_error(fd);
  close(fd);
}

// The address goes, the port stays.
void names_after_a_refusal() {
  Name address = theirs(number(peer("closed_port 0")));
  int fd = tcp();
  said("connect", connect(fd, plain(address), size(address)));
  said_sockname(fd);
  close(fd);
  note("-- bound");
  fd = tcp();
  Name own = mine();
  must("bind", bind(fd, plain(own), size(own)));
  const int port = port_of(fd);
  said("connect", connect(fd, plain(address), size(address)));
  said_sockname(fd);
  note("same port %d", port == port_of(fd));
  close(fd);
  note("-- bound to any address");
  fd = tcp();
  own = anywhere();
  must("bind", bind(fd, plain(own), size(own)));
  said("connect", connect(fd, plain(address), size(address)));
  said_sockname(fd);
  close(fd);
}

// What only a closed socket takes.
void options_of_a_connection() {
  both_ways([](int fd) {
    for (const int value : {0, 1, 2}) {
      said("TCP_FASTOPEN_CONNECT",
           setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &value, sizeof value));
      said("TCP_FASTOPEN", setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &value, sizeof value));
      said("TCP_WINDOW_CLAMP", setsockopt(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, &value, sizeof value));
    }
    int value = -1;
    socklen_t length = sizeof value;
    getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &value, &length);
    note("TCP_FASTOPEN_CONNECT %d", value);
  });
}

constexpr Scenario kScenarios[] = {
    {"shut_while_connecting", Proof::kTcp, shut_while_connecting},
    {"error_goes_to_the_next_call", Proof::kTcp, error_goes_to_the_next_call},
    {"dissolved_by_unspec", Proof::kTcp, dissolved_by_unspec},
    {"dissolved_in_a_set", Proof::kTcp, dissolved_in_a_set},
    {"dissolved_under_a_call", Proof::kTcp, dissolved_under_a_call},
    {"names_after_a_refusal", Proof::kTcp, names_after_a_refusal},
    {"options_of_a_connection", Proof::kTcp, options_of_a_connection},
};

}  // namespace

int main(int argc, char** argv) { return scenario::main(argc, argv, kScenarios); }
