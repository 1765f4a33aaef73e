// descriptors.cpp - numbers of descriptors, and several descriptors of one socket
#include <linux/close_range.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "scenario.h"

using namespace scenario;

namespace {

void lowest_free_numbers() {
  note("-- each call gives the lowest free number");
  const int first = tcp();
  const int second = udp();
  const int third = tcp();
  note("%d %d %d", first, second, third);
  close(second);
  note("socket %d", tcp());
  const int listener = listening();
  note("listener %d", listener);
  peer("connect 1 %d", port_of(listener));
  close(first);
  note("accept %d", accept(listener, nullptr, nullptr));
  peer("connect 2 %d", port_of(listener));
  note("accept %d", accept(listener, nullptr, nullptr));
  int ends[2];
  must("pipe", pipe(ends));
  note("pipe %d %d", ends[0], ends[1]);
  const int epoll = epoll_create1(0);
  note("epoll %d", epoll);
  close(third);
  note("open %d", open("/dev/null", O_RDONLY));
  for (int fd = first; fd <= epoll; ++fd) close(fd);
  note("again %d", tcp());
  close(first);
}

void no_descriptors_left() {
  const int listener = listening();
  peer("connect 1 %d", port_of(listener));
  await(listener, POLLIN);
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit tight = before;
  tight.rlim_cur = static_cast<rlim_t>(listener) + 1;
  must("setrlimit", setrlimit(RLIMIT_NOFILE, &tight));
  said("socket", socket(family, SOCK_STREAM, 0));
  said("accept", accept(listener, nullptr, nullptr));
  said("dup", dup(listener));
  said("epoll_create1", epoll_create1(0));
  must("setrlimit", setrlimit(RLIMIT_NOFILE, &before));
  const int fd = accept(listener, nullptr, nullptr);
  worked("accept", fd);
  said("send", send(fd, "hello", 5, 0));
  peer_said("recv 1 5");
  close(fd);
  close(listener);
}

// As many as the program's limit allows, and with its numbers.
void every_number_of_the_limit() {
  const int listener = listening();
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit tight = before;
  tight.rlim_cur = 16;
  must("setrlimit", setrlimit(RLIMIT_NOFILE, &tight));
  std::vector<int> fds;
  for (int slot = 1; slot < 20; ++slot) {
    peer("connect %d %d", slot, port_of(listener));
    const int fd = accept(listener, nullptr, nullptr);
    if (fd < 0) {
      said("accept", fd);
      break;
    }
    fds.push_back(fd);
  }
  note("%zu connections up to number %d", fds.size(), fds.back());
  said("send", send(fds.back(), "hello", 5, 0));
  peer_said("recv %zu 5", fds.size());
  said("epoll_create1", epoll_create1(0));
  rlimit now{};
  said("getrlimit", getrlimit(RLIMIT_NOFILE, &now));
  note("soft %d hard %d", now.rlim_cur == tight.rlim_cur, now.rlim_max == before.rlim_max);
  said("prlimit", prlimit(0, RLIMIT_NOFILE, nullptr, &now));
  note("soft %d hard %d", now.rlim_cur == tight.rlim_cur, now.rlim_max == before.rlim_max);
  note("OPEN_MAX %ld", sysconf(_SC_OPEN_MAX));
  must("setrlimit", setrlimit(RLIMIT_NOFILE, &before));
  for (const int fd : fds) close(fd);
  close(listener);
}

// As daemons do.
void closed_in_a_loop() {
  const int fd = connected();
  for (int other = 3; other < 8192; ++other) {
    if (other != fd && other != control_fd) close(other);
  }
  said("send", send(fd, "hello", 5, 0));
  peer_said("recv 1 5");
  const int listener = listening();
  ask("connect 2 %d", port_of(listener));
  const int other = must("accept", accept(listener, nullptr, nullptr));
  answer();
  said("send", send(other, "hello", 5, 0));
  peer_said("recv 2 5");
  for (const int each : {fd, listener, other}) close(each);
}

void socket_arguments() {
  said("family", socket(99, SOCK_STREAM, 0));
  said("type", socket(family, 99, 0));
  said("protocol", socket(family, SOCK_STREAM, IPPROTO_UDP));
  said("flags", socket(family, SOCK_STREAM | 0x400000, 0));
  const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
  note("flags %x, FD %d", static_cast<unsigned>(fcntl(fd, F_GETFL)), fcntl(fd, F_GETFD));
  said("F_SETFD", fcntl(fd, F_SETFD, 0));
  note("FD %d", fcntl(fd, F_GETFD));
  struct stat status {};
  said("fstat", fstat(fd, &status));
  note("socket %d", S_ISSOCK(status.st_mode));
  said("lseek", lseek(fd, 0, SEEK_CUR));
  said("ftruncate", ftruncate(fd, 0));
  said("F_DUPFD", fcntl(fd, F_DUPFD, -1));
  said("fcntl", fcntl(fd, 9999, 0));
  close(fd);
  int pair[2];
  said("socketpair", socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
  said("send", send(pair[0], "x", 1, 0));
  char byte;
  said_data("recv", recv(pair[1], &byte, 1, 0), &byte);
  close(pair[0]);
  close(pair[1]);
  said("socketpair AF_INET", socketpair(AF_INET, SOCK_STREAM, 0, pair));
}

// All descriptors of a socket are equal; the connection ends with the last.
void dup_shares_everything() {
  both_ways([](int fd) {
    char buffer[16];
    const int first = dup(fd);
    const int second = fcntl(fd, F_DUPFD, 50);
    const int third = fcntl(fd, F_DUPFD_CLOEXEC, 50);
    said("dup2", dup2(fd, 60));
    said("dup3", dup3(fd, 61, O_CLOEXEC));
    note("numbers %d %d %d", first - fd, second, third);
    for (const int one : {first, second, third, 60, 61}) note("FD %d", fcntl(one, F_GETFD));
    set_nonblocking(second, true);
    note("shared O_NONBLOCK %d", (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    said("recv", recv(fd, buffer, 1, 0));
    set_option(60, IPPROTO_TCP, TCP_NODELAY, 1);
    int value = 0;
    socklen_t length = sizeof value;
    getsockopt(61, IPPROTO_TCP, TCP_NODELAY, &value, &length);
    note("shared TCP_NODELAY %d", value);
    said("send", send(first, "one", 3, 0));
    said("send", send(61, "two", 3, 0));
    peer_said("recv 1 6");
    peer_said("text 1 abcd");
    await(third, POLLIN);
    said_data("recv", recv(60, buffer, 2, 0), buffer);
    said_data("recv", recv(first, buffer, 2, 0), buffer);
    for (const int one : {first, second, 60}) said("close", close(one));
    said("send on a closed one", send(first, "x", 1, 0));
    said("send", send(third, "three", 5, 0));
    peer_said("recv 1 5");
    said("shutdown", shutdown(61, SHUT_WR));
    said("send", send(fd, "x", 1, MSG_NOSIGNAL));
    peer_said("recv 1 1");
    said("close", close(third));
    said("close", close(61));
    said_poll(fd);
  });
}

void closing_order_of_dups() {
  for (const bool original_first : {true, false}) {
    const int fd = original_first ? connected() : accepted();
    const int other = dup(fd);
    close(original_first ? fd : other);
    const int left = original_first ? other : fd;
    said("send", send(left, "hello", 5, 0));
    peer_said("recv 1 5");
    peer_said("text 1 hello");
    char buffer[16];
    said_data("recv", recv(left, buffer, sizeof buffer, 0), buffer);
    said_peername(left);
    close(left);
    peer_said("recv 1 1");
    peer("forget");
  }
}

void dup2_over_a_socket() {
  const int first = connected(1);
  const int second = accepted(2);
  note("-- a connection over another");
  said("dup2", dup2(first, second) - second);
  peer_said("recv 2 1");
  said("send", send(second, "hello", 5, 0));
  peer_said("recv 1 5");
  note("-- itself");
  said("dup2", dup2(first, first) - first);
  said("dup3", dup3(first, first, 0));
  said("dup3 flags", dup3(first, 70, 1));
  said("dup2 from closed", dup2(99, first));
  said("dup2 to negative", dup2(first, minus_one));
  note("-- a file over the last descriptor");
  const int null = open("/dev/null", O_RDWR);
  said("dup2", dup2(null, second) - second);
  said("write", write(second, "x", 1));
  said("dup2", dup2(null, first) - first);
  peer_said("recv 1 1");
  said("send", send(first, "x", 1, 0));
  said("write", write(first, "x", 1));
  close(null);
  close(first);
  close(second);
  note("-- a connection over a file");
  const int third = connected(3);
  const int file = open("/dev/null", O_RDWR);
  said("dup2", dup2(third, file) - file);
  close(third);
  said("write", write(file, "hello", 5));
  peer_said("recv 3 5");
  close(file);
  peer_said("recv 3 1");
}

// Standard input and output of a server of the inetd kind.
void dup2_over_stdin() {
  const int saved = fcntl(0, F_DUPFD, 100);
  const int fd = accepted();
  dup2(fd, 0);
  close(fd);
  peer_said("text 1 hello");
  char buffer[16];
  said_data("read", read(STDIN_FILENO, buffer, 5), buffer);
  said("write", write(STDIN_FILENO, "world", 5));
  peer_said("recv 1 5");
  dup2(saved, 0);
  close(saved);
  peer_said("recv 1 1");
}

void numbers_are_reused() {
  for (int round = 0; round < 6; ++round) {
    const int fd = round % 2 == 0 ? connected() : accepted();
    note("%d", fd);
    said("send", send(fd, "hello", 5, 0));
    peer_said("recv 1 5");
    close(fd);
    const int file = open("/dev/null", O_RDWR);
    note("file %d", file);
    char byte;
    said("read", read(file, &byte, 1));
    close(file);
    peer("forget");
  }
}

void close_ranges() {
  const int first = connected(1);
  const int second = accepted(2);
  const int third = fcntl(first, F_DUPFD, 20);
  said("close_range", close_range(static_cast<unsigned>(first), static_cast<unsigned>(second), 0));
  peer_said("recv 2 1");
  said("send on a closed one", send(first, "x", 1, 0));
  said("send", send(third, "hello", 5, 0));
  peer_said("recv 1 5");
  const auto last = static_cast<unsigned>(third);
  said("close_range CLOEXEC", close_range(last, last, CLOSE_RANGE_CLOEXEC));
  note("FD %d", fcntl(third, F_GETFD));
  said("close_range backwards", close_range(9, 3, 0));
  said("close_range far", close_range(last, 150, 0));
  peer_said("recv 1 1");
  said("again", tcp());
  close(first);
}

// What programs do that close everything they do not know.
// closefrom(3), which daemons call: what is the program's goes, what the library needs stays.
void close_from_a_number() {
  // The line to the peer goes with the rest, but for where stderr was.
  constexpr int kSpared = 2;
  const int high = std::exchange(control_fd, must("dup2", dup2(control_fd, kSpared)));
  const int first = connected(1);
  const int kept = fcntl(first, F_DUPFD, 3);
  const int second = accepted(2);
  const int far = fcntl(second, F_DUPFD, 100);
  closefrom(second);
  peer_said("recv 2 1");
  said("F_GETFD", fcntl(far, F_GETFD));
  said("send", send(first, "hello", 5, 0));
  peer_said("recv 1 5");
  const int other = accepted(3);
  worked("accepted", other);
  said("send", send(other, "hello", 5, 0));
  peer_said("recv 3 5");
  closefrom(3);
  peer_said("recv 1 1");
  peer_said("recv 3 1");
  note("%d %d", fcntl(first, F_GETFD), fcntl(kept, F_GETFD));
  control_fd = must("dup2", dup2(kSpared, high));
  dup2(STDOUT_FILENO, kSpared);
}

extern "C" int isfdtype(int fd, int type) noexcept;

void kinds_of_descriptors() {
  both_ways([](int fd) {
    said("isfdtype a socket", isfdtype(fd, S_IFSOCK));
    said("isfdtype a file", isfdtype(fd, S_IFREG));
    said("isfdtype none", isfdtype(777, S_IFSOCK));
    struct stat about {};
    said("fstat", fstat(fd, &about));
    note("socket %d, size %ld", S_ISSOCK(about.st_mode), static_cast<long>(about.st_size));
    char name[64] = {};
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    const auto bytes = readlink(link.c_str(), name, sizeof name - 1);
    note("link %.8s", bytes > 0 ? name : "none");
    int ends[2] = {-1, -1};
    said("socketpair", socketpair(family, SOCK_STREAM, 0, ends));
    said("tee", tee(fd, fd, 5, 0));
    said("isatty", isatty(fd));
    said("fsync", fsync(fd));
    said("fchdir", fchdir(fd));
  });
}

void close_everything() {
  const int fd = connected(1);
  const int epoll = epoll_create1(0);
  for (int one = 3; one < 150; ++one) {
    if (one != fd) close(one);
  }
  note("epoll was closed: %d", fcntl(epoll, F_GETFD) == -1);
  said("send", send(fd, "hello", 5, 0));
  peer_said("recv 1 5");
  const int other = accepted(2);
  worked("accepted", other);
  said("send", send(other, "hello", 5, 0));
  peer_said("recv 2 5");
  close(other);
  close(fd);
}

void flags_of_descriptors() {
  const int fd = connected();
  note("flags %x", static_cast<unsigned>(fcntl(fd, F_GETFL)));
  said("O_NONBLOCK", fcntl(fd, F_SETFL, O_NONBLOCK));
  note("flags %x", static_cast<unsigned>(fcntl(fd, F_GETFL)));
  said("more", fcntl(fd, F_SETFL, O_RDWR | O_APPEND));
  note("flags %x", static_cast<unsigned>(fcntl(fd, F_GETFL)));
  int on = 1;
  said("FIONBIO", ioctl(fd, FIONBIO, &on));
  note("flags %x", static_cast<unsigned>(fcntl(fd, F_GETFL)));
  said("FIONBIO bad", ioctl(fd, FIONBIO, bad_pointer()));
  said("FIOCLEX", ioctl(fd, FIOCLEX));
  note("FD %d", fcntl(fd, F_GETFD));
  said("FIONCLEX", ioctl(fd, FIONCLEX));
  note("FD %d", fcntl(fd, F_GETFD));
  said("F_GETOWN", fcntl(fd, F_GETOWN));
  close(fd);
  const int listener = listening(mine(), 8, SOCK_NONBLOCK);
  note("listener %x", static_cast<unsigned>(fcntl(listener, F_GETFL)));
  said("blocking", fcntl(listener, F_SETFL, 0));
  note("listener %x", static_cast<unsigned>(fcntl(listener, F_GETFL)));
  close(listener);
}

// Only what is the kernel's can be passed so far: docs/compatibility.md.
void pass_a_plain_file() {
  int pair[2];
  must("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  const int file = open("/dev/null", O_RDWR);
  char control[CMSG_SPACE(sizeof file)] = {};
  char byte = 'x';
  iovec piece{&byte, 1};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof file);
  memcpy(CMSG_DATA(header), &file, sizeof file);
  said("sendmsg", sendmsg(pair[0], &message, 0));
  said("recvmsg", recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC));
  int got = -1;
  memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof got);
  note("another number: %d, FD %d", got != file, fcntl(got, F_GETFD));
  said("write", write(got, "x", 1));
  for (const int fd : {pair[0], pair[1], file, got}) close(fd);
}

// What syscall(2) does to a descriptor is done to the socket.
void closed_by_syscall() {
  both_ways([](int fd) {
    const auto second = static_cast<int>(syscall(SYS_dup, fd));
    must("dup", second);
    char buffer[16];
    must("close", static_cast<int>(syscall(SYS_close, fd)));
    said("send", send(fd, "x", 1, MSG_NOSIGNAL));
    const int file = open("/dev/zero", O_RDWR);
    note("the same number: %d", file == fd);
    said("write", write(file, "to the file", 11));
    said("read", read(file, buffer, sizeof buffer));
    note("zero: %d", buffer[0] == 0 && buffer[15] == 0);
    said("send", send(second, "hello", 5, 0));
    peer_said("recv 1 5");
    said("dup2", syscall(SYS_dup2, file, second) == second ? 0 : -1);
    peer_said("recv 1 5");
    said("read", read(second, buffer, sizeof buffer));
    said("dup3", syscall(SYS_dup3, file, file, 0));
    said("close_range", syscall(SYS_close_range, second, second, 0));
    said("close", syscall(SYS_close, second));
    said("no such call", syscall(-1));
    close(file);
  });
}

constexpr Scenario kScenarios[] = {
    {"lowest_free_numbers", Proof::kTcp, lowest_free_numbers},
    {"no_descriptors_left", Proof::kTcp, no_descriptors_left},
    {"every_number_of_the_limit", Proof::kTcp, every_number_of_the_limit},
    {"closed_in_a_loop", Proof::kTcp, closed_in_a_loop},
    {"socket_arguments", Proof::kNone, socket_arguments},
    {"dup_shares_everything", Proof::kTcp, dup_shares_everything},
    {"closing_order_of_dups", Proof::kTcp, closing_order_of_dups},
    {"dup2_over_a_socket", Proof::kTcp, dup2_over_a_socket},
    {"dup2_over_stdin", Proof::kTcp, dup2_over_stdin},
    {"numbers_are_reused", Proof::kTcp, numbers_are_reused},
    {"close_ranges", Proof::kTcp, close_ranges},
    {"close_from_a_number", Proof::kTcp, close_from_a_number},
    {"close_everything", Proof::kTcp, close_everything},
    {"kinds_of_descriptors", Proof::kTcp, kinds_of_descriptors},
    {"flags_of_descriptors", Proof::kTcp, flags_of_descriptors},
    {"closed_by_syscall", Proof::kTcp, closed_by_syscall},
    {"pass_a_plain_file", Proof::kNone, pass_a_plain_file},
};

}  // namespace

int main(int argc, char** argv) { return scenario::main(argc, argv, kScenarios); }
