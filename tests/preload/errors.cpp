// errors.cpp - what comes beside the bytes of a stream: the error queue (MSG_ERRQUEUE,
// MSG_ZEROCOPY) and control data
#include <time.h>

#include <linux/errqueue.h>

#include "scenario.h"

using namespace scenario;

namespace {

long read_note(int fd, size_t room = 256) {
  char bytes[16];
  char control[256] = {};
  iovec piece{bytes, sizeof bytes};
  Name from{};
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_name = &from;
  header.msg_namelen = size(from);
  header.msg_control = control;
  header.msg_controllen = room;
  const long got = recvmsg(fd, &header, MSG_ERRQUEUE);
  said("recvmsg ERRQUEUE", got);
  if (got < 0) return got;
  note("flags %x name %u control %zu", static_cast<unsigned>(header.msg_flags), header.msg_namelen,
       header.msg_controllen);
  for (cmsghdr* at = CMSG_FIRSTHDR(&header); at != nullptr; at = CMSG_NXTHDR(&header, at)) {
    sock_extended_err error{};
    memcpy(&error, CMSG_DATA(at), std::min(sizeof error, at->cmsg_len - CMSG_LEN(0)));
    // Whether it was copied all the same (ee_code) differs.
    note("level %d type %d length %zu: errno %u origin %u type %u", at->cmsg_level, at->cmsg_type,
         at->cmsg_len, error.ee_errno, error.ee_origin, error.ee_type);
    note("from %u to %u", error.ee_info, error.ee_data);
  }
  return got;
}

void zero_copy() {
  both_ways([](int fd) {
    said("not asked for", send(fd, "hello", 5, MSG_ZEROCOPY));
    peer_said("recv 1 5");
    said_poll(fd);
    read_note(fd);
    set_option(fd, SOL_SOCKET, SO_ZEROCOPY, 1);
    const std::string data = pattern(5000);
    said("send", send(fd, data.data(), data.size(), MSG_ZEROCOPY));
    peer_said("recv 1 5000");
    await(fd, POLLERR);
    said_so_error(fd);
    read_note(fd);
    said_poll(fd);
    said("no flag", send(fd, "hello", 5, 0));
    peer_said("recv 1 5");
    read_note(fd);
    for (int i = 0; i < 3; ++i) {
      said("send", send(fd, data.data(), data.size(), MSG_ZEROCOPY));
      peer_said("recv 1 5000");
      usleep(5000);
    }
    await(fd, POLLERR);
    read_note(fd);
    read_note(fd);
    said("nothing", send(fd, data.data(), 0, MSG_ZEROCOPY));
    read_note(fd);
    said("send", send(fd, data.data(), data.size(), MSG_ZEROCOPY));
    peer_said("recv 1 5000");
    await(fd, POLLERR);
    read_note(fd, 20);
  });
}

void zero_copy_in_a_set() {
  both_ways([](int fd) {
    set_option(fd, SOL_SOCKET, SO_ZEROCOPY, 1);
    const int set = must("epoll_create1", epoll_create1(0));
    epoll_event event{};
    event.events = EPOLLET;
    must("add", epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
    said("nothing", epoll_wait(set, &event, 1, 0));
    const std::string data = pattern(5000);
    said("send", send(fd, data.data(), data.size(), MSG_ZEROCOPY));
    peer_said("recv 1 5000");
    said("epoll", epoll_wait(set, &event, 1, kLimitMs));
    note("%s", event_names(event.events).c_str());
    said("once", epoll_wait(set, &event, 1, 20));
    read_note(fd);
    close(set);
  });
}

void said_control(int fd, int flags = 0, size_t room = 256) {
  char bytes[16];
  char control[256] = {};
  iovec piece{bytes, sizeof bytes};
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = room;
  const long got = recvmsg(fd, &header, flags);
  said_data("recvmsg", got, bytes);
  if (got < 0) return;
  note("flags %x control %zu", static_cast<unsigned>(header.msg_flags), header.msg_controllen);
  for (cmsghdr* at = CMSG_FIRSTHDR(&header); at != nullptr; at = CMSG_NXTHDR(&header, at)) {
    int first = 0;
    memcpy(&first, CMSG_DATA(at), std::min(sizeof first, at->cmsg_len - CMSG_LEN(0)));
    note("level %d type %d length %zu: %d", at->cmsg_level, at->cmsg_type, at->cmsg_len, first);
  }
}

void control_data() {
  both_ways([](int fd) {
    peer_said("text 1 abc");
    await_unread(fd, 3);
    said_control(fd);
    set_option(fd, IPPROTO_TCP, TCP_INQ, 1);
    peer_said("text 1 abcdefghijklmnopqrs");
    await_unread(fd, 19);
    said_control(fd);
    said_control(fd);
    peer_said("text 1 abc");
    await_unread(fd, 3);
    said_control(fd);
    said_control(fd, MSG_DONTWAIT);
    peer_said("text 1 abc");
    peer_said("shut 1 1");
    await(fd, POLLRDHUP);
    said_control(fd);
    said_control(fd);
  });
}

constexpr Scenario kScenarios[] = {
    {"zero_copy", Proof::kTcp, zero_copy},
    {"stream_control_data", Proof::kTcp, control_data},
    {"zero_copy_in_a_set", Proof::kTcp, zero_copy_in_a_set},
};

}  // namespace

int main(int argc, char** argv) { return scenario::main(argc, argv, kScenarios); }
