// times.cpp - when something came or went: SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMPING; and
// options that only the kernel obeys, set when a socket is bypassed already The kernel's headers
// want struct timespec first.
#include <time.h>

#include <linux/errqueue.h>
#include <linux/filter.h>
#include <linux/net_tstamp.h>

#include "scenario.h"

using namespace scenario;

namespace {

constexpr int kReceived = SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE;

// The kernel begins to stamp a moment after the first socket wants it.
void let_begin() { usleep(50'000); }

bool is_recent(const timespec& time) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return time.tv_sec <= now.tv_sec && time.tv_sec > now.tv_sec - 60;
}

const char* described(const timespec& time) {
  if (time.tv_sec == 0 && time.tv_nsec == 0) return "none";
  return is_recent(time) ? "recent" : "wrong";
}

void note_time(const cmsghdr& message) {
  const auto* data = CMSG_DATA(&message);
  if (message.cmsg_type == SO_TIMESTAMP || message.cmsg_type == SO_TIMESTAMP_NEW) {
    timeval time{};
    memcpy(&time, data, sizeof time);
    note("  %s", described({time.tv_sec, time.tv_usec * 1000}));
    return;
  }
  timespec times[3] = {};
  memcpy(times, data, std::min(sizeof times, message.cmsg_len - CMSG_LEN(0)));
  note("  %s, %s, %s", described(times[0]), described(times[1]), described(times[2]));
}

void note_error(const cmsghdr& message) {
  sock_extended_err error{};
  memcpy(&error, CMSG_DATA(&message), sizeof error);
  note("  errno %s origin %d type %d code %d info %u data %u",
       errno_name(static_cast<int>(error.ee_errno)), error.ee_origin, error.ee_type, error.ee_code,
       error.ee_info, error.ee_data);
}

void said_message(int fd, int flags = 0, size_t room = 256, size_t bytes = 16) {
  char data[256];
  alignas(cmsghdr) char control[256] = {};
  iovec piece{data, bytes};
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = room;
  const long got = recvmsg(fd, &header, flags);
  if ((flags & MSG_ERRQUEUE) != 0) {
    said("recvmsg", got);
  } else {
    said_data("recvmsg", got, data);
  }
  if (got < 0) return;
  note("flags %x control %zu", header.msg_flags, header.msg_controllen);
  for (cmsghdr* at = CMSG_FIRSTHDR(&header); at != nullptr; at = CMSG_NXTHDR(&header, at)) {
    note("level %d type %d length %zu", at->cmsg_level, at->cmsg_type, at->cmsg_len);
    if (at->cmsg_level == SOL_SOCKET) note_time(*at);
    if (at->cmsg_level == IPPROTO_IP || at->cmsg_level == IPPROTO_IPV6) note_error(*at);
  }
}

struct Setting {
  const char* name;
  int option;
  int value;
};

constexpr Setting kSettings[] = {
    {"SO_TIMESTAMP", SO_TIMESTAMP, 1},
    {"SO_TIMESTAMPNS", SO_TIMESTAMPNS, 1},
    {"SO_TIMESTAMP again", SO_TIMESTAMP, 1},
    {"SO_TIMESTAMPNS of 2038", SO_TIMESTAMPNS_NEW, 1},
    {"SO_TIMESTAMP of 2038", SO_TIMESTAMP_NEW, 1},
    {"SO_TIMESTAMPING beside it", SO_TIMESTAMPING, kReceived},
    {"SO_TIMESTAMPING of 2038", SO_TIMESTAMPING_NEW, kReceived},
    {"SO_TIMESTAMP off", SO_TIMESTAMP, 0},
    {"SO_TIMESTAMPING not of software", SO_TIMESTAMPING, SOF_TIMESTAMPING_RX_SOFTWARE},
    {"SO_TIMESTAMPNS alone", SO_TIMESTAMPNS, 1},
    {"SO_TIMESTAMPING off", SO_TIMESTAMPING, 0},
    {"SO_TIMESTAMPNS off", SO_TIMESTAMPNS, 0},
};

void times_of_a_stream() {
  both_ways([](int fd) {
    set_option(fd, SOL_SOCKET, SO_TIMESTAMP, 1);
    let_begin();
    for (const Setting& one : kSettings) {
      note("-- %s", one.name);
      said("setsockopt", setsockopt(fd, SOL_SOCKET, one.option, &one.value, sizeof one.value));
      peer_said("text 1 abcdef");
      await_unread(fd, 6);
      said_message(fd, MSG_PEEK);
      said_message(fd, 0, 256, 2);
      said_message(fd, 0, CMSG_LEN(8), 2);
      said_message(fd, 0, 0, 2);
    }
    note("-- beside TCP_INQ, in pieces, at the end");
    set_option(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    set_option(fd, IPPROTO_TCP, TCP_INQ, 1);
    peer_said("text 1 abc");
    await_unread(fd, 3);
    peer_said("text 1 def");
    await_unread(fd, 6);
    said_message(fd, MSG_TRUNC, 256, 4);
    said_message(fd);
    peer("close 1");
    await(fd, POLLRDHUP);
    said_message(fd);
  });
}

void times_are_inherited() {
  const int listener = listening();
  set_option(listener, SOL_SOCKET, SO_TIMESTAMPNS, 1);
  set_option(listener, SOL_SOCKET, SO_TIMESTAMPING, kReceived);
  let_begin();
  ask("connect 1 %d", port_of(listener));
  const int fd = must("accept", accept(listener, nullptr, nullptr));
  answer();
  peer("text 1 abc");
  await_unread(fd, 3);
  said_message(fd);
  close(fd);
  close(listener);
}

void times_of_datagrams() {
  const int fd = udp();
  Name own = mine();
  must("bind", bind(fd, plain(own), size(own)));
  peer("udp 0");
  set_option(fd, SOL_SOCKET, SO_TIMESTAMP, 1);
  let_begin();
  for (const Setting& one : kSettings) {
    note("-- %s", one.name);
    said("setsockopt", setsockopt(fd, SOL_SOCKET, one.option, &one.value, sizeof one.value));
    for (const size_t room : {size_t{256}, size_t{CMSG_LEN(8)}, size_t{0}}) {
      peer("sendto 0 %d 7", port_of(fd));
      said_message(fd, 0, room);
    }
  }
  note("-- what came before anybody wanted to know");
  peer("sendto 0 %d 7", port_of(fd));
  await(fd, POLLIN);
  set_option(fd, SOL_SOCKET, SO_TIMESTAMP, 1);
  said_message(fd);
  close(fd);
}

// All that is there, once so many notes have come.
void said_notes(int fd, int count) {
  int seen = 0;
  eventually([&] {
    if ((poll_now(fd, 0) & POLLERR) == 0) return false;
    said_message(fd, MSG_ERRQUEUE);
    return ++seen == count;
  });
  said_message(fd, MSG_ERRQUEUE);
}

void times_of_what_a_stream_sends() {
  both_ways([](int fd) {
    constexpr int kSent = SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_TX_SOFTWARE |
                          SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_TX_ACK |
                          SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY;
    peer_said("text 1 abc");
    await_unread(fd, 3);
    set_option(fd, SOL_SOCKET, SO_TIMESTAMPING, kSent);
    let_begin();
    int value = 0;
    socklen_t length = sizeof value;
    said("getsockopt", getsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &value, &length));
    note("%x", value);
    said("send", send(fd, "hello", 5, 0));
    said_notes(fd, 3);
    said("send", send(fd, "hello", 5, 0));
    said_notes(fd, 3);
    peer_said("recv 1 10");
    char data[8];
    said_data("recv", recv(fd, data, sizeof data, 0), data);
  });
}

void times_of_one_send() {
  both_ways([](int fd) {
    set_option(fd, SOL_SOCKET, SO_TIMESTAMPING,
               SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_TSONLY);
    let_begin();
    said("send", send(fd, "hello", 5, 0));
    iovec piece{const_cast<char*>("again"), 5};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(uint32_t))] = {};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    const uint32_t wanted = SOF_TIMESTAMPING_TX_SOFTWARE;
    auto* const message = reinterpret_cast<cmsghdr*>(control);
    *message = {CMSG_LEN(sizeof wanted), SOL_SOCKET, SO_TIMESTAMPING};
    memcpy(CMSG_DATA(message), &wanted, sizeof wanted);
    said("sendmsg", sendmsg(fd, &header, 0));
    said_notes(fd, 1);
    peer_said("recv 1 10");
  });
}

void times_of_datagrams_sent() {
  const int port = number(peer("udp 1"));
  const int fd = udp();
  Name address = theirs(port);
  must("connect", connect(fd, plain(address), size(address)));
  said("send", send(fd, "zero", 4, 0));
  peer_said("echo 1");
  constexpr int kSent = SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_TX_SOFTWARE |
                        SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_OPT_ID |
                        SOF_TIMESTAMPING_OPT_TSONLY;
  set_option(fd, SOL_SOCKET, SO_TIMESTAMPING, kSent);
  let_begin();
  char data[8];
  said_data("recv", recv(fd, data, sizeof data, 0), data);
  for (const char* text : {"one", "two"}) {
    said("send", send(fd, text, 3, 0));
    said_notes(fd, 1);
    peer_said("echo 1");
    await(fd, POLLIN);
    said_message(fd);
  }
  close(fd);
}

// It had the port already.
void options_of_the_kernel() {
  const int fd = udp();
  Name own = anywhere();
  must("bind", bind(fd, plain(own), size(own)));
  set_timeout(fd, SO_RCVTIMEO, 100);
  peer("udp 0");
  char data[16];
  const auto exchange = [&] {
    peer("sendto 0 %d 7", port_of(fd));
    said("recv", recv(fd, data, sizeof data, 0));
  };
  exchange();
  peer("sendto 0 %d 7", port_of(fd));
  await(fd, POLLIN);
  note("-- all is filtered");
  sock_filter nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
  const sock_fprog program{1, nothing};
  said("setsockopt", setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
  said("recv", recv(fd, data, sizeof data, 0));
  exchange();
  int number = 0;
  said("setsockopt", setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &number, sizeof number));
  exchange();
  note("-- another interface's");
  said("setsockopt", setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3));
  exchange();
  close(fd);
}

void options_of_the_kernel_on_a_stream() {
  both_ways([](int fd) {
    peer_said("text 1 abc");
    await_unread(fd, 3);
    sock_filter everything[] = {BPF_STMT(BPF_RET | BPF_K, 0xffff)};
    const sock_fprog program{1, everything};
    said("setsockopt", setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
    said_message(fd);
    said("send", send(fd, "hello", 5, 0));
    peer_said("recv 1 5");
    const auto unacknowledged = [fd] {
      int left = 0;
      ioctl(fd, TIOCOUTQ, &left);
      return left;
    };
    eventually([&] { return unacknowledged() == 0; });
    said("no such", setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "none", 5));
    said_poll(fd);
    said("setsockopt", setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3));
    said("send", send(fd, "hello", 5, MSG_NOSIGNAL));
    note("not acknowledged: %d", unacknowledged());
  });
}

constexpr Scenario kScenarios[] = {
    {"times_of_a_stream", Proof::kTcp, times_of_a_stream},
    {"times_are_inherited", Proof::kTcp, times_are_inherited},
    {"times_of_datagrams", Proof::kUdp, times_of_datagrams},
    {"times_of_what_a_stream_sends", Proof::kTcpHybrid, times_of_what_a_stream_sends},
    {"times_of_one_send", Proof::kTcpHybrid, times_of_one_send},
    {"times_of_datagrams_sent", Proof::kUdp, times_of_datagrams_sent},
    {"options_of_the_kernel", Proof::kUdp, options_of_the_kernel},
    {"options_of_the_kernel_on_a_stream", Proof::kTcpHybrid, options_of_the_kernel_on_a_stream},
};

}  // namespace

int main(int argc, char** argv) { return scenario::main(argc, argv, kScenarios); }
