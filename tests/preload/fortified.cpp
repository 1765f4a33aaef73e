// fortified.cpp - the names that a program built with -D_FORTIFY_SOURCE=2 calls
#undef _FORTIFY_SOURCE
#define _FORTIFY_SOURCE 2
#include <sys/resource.h>
#include <sys/wait.h>

#include "scenario.h"

using namespace scenario;

namespace {

// Not known to the compiler, so the checking function is called.
volatile size_t ten = 10;
volatile size_t thousand = 1000;
volatile nfds_t two = 2;

void checked_calls() {
  both_ways([](int fd) {
    char buffer[16] = {};
    peer_said("send 1 40");
    await_unread(fd, 40);
    said_data("__recv_chk", recv(fd, buffer, ten, 0), buffer);
    said_data("__read_chk", read(fd, buffer, ten), buffer);
    Name from{};
    socklen_t length = size(from);
    said_data("__recvfrom_chk", recvfrom(fd, buffer, ten, 0, plain(from), &length), buffer);
    pollfd set[2] = {{fd, POLLIN, 0}, {-1, 0, 0}};
    said("__poll_chk", poll(set, two, 0));
    const timespec none{0, 0};
    said("__ppoll_chk", ppoll(set, two, &none, nullptr));
    said_data("__recv_chk", recv(fd, buffer, ten, MSG_WAITALL), buffer);
    said("__poll_chk", poll(set, two, 0));
    said("__recv_chk", recv(fd, buffer, ten, MSG_DONTWAIT));
    fd_set in;
    FD_ZERO(&in);
    FD_SET(fd, &in);
    note("__fdelt_chk %d", FD_ISSET(fd, &in) != 0);
    dprintf(fd, "%s %d", "checked", 1);
    peer_said("recv 1 9");
  });
}

// The check is libc's own: a child that would write past its buffer is aborted before it does.
void aborted(const char* what, void (*body)(int), int fd) {
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    const rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    const int null = open("/dev/null", O_RDWR);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    body(fd);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  note("%s: SIGABRT %d", what, WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

void overflows_abort() {
  const int fd = connected();
  peer_said("text 1 hello");
  await_unread(fd, 5);
  aborted(
      "recv",
      [](int one) {
        char buffer[16];
        recv(one, buffer, thousand, 0);
      },
      fd);
  aborted(
      "read",
      [](int one) {
        char buffer[16];
        if (read(one, buffer, thousand) < 0) _exit(1);
      },
      fd);
  aborted(
      "recvfrom",
      [](int one) {
        char buffer[16];
        recvfrom(one, buffer, thousand, 0, nullptr, nullptr);
      },
      fd);
  aborted(
      "poll",
      [](int one) {
        pollfd set[1] = {{one, POLLIN, 0}};
        poll(set, two, 0);
      },
      fd);
  char buffer[16];
  said_data("recv", recv(fd, buffer, ten, 0), buffer);
  close(fd);
}

constexpr Scenario kScenarios[] = {
    {"checked_calls", Proof::kTcp, checked_calls},
    {"overflows_abort", Proof::kTcp, overflows_abort},
};

}  // namespace

int main(int argc, char** argv) { return scenario::main(argc, argv, kScenarios); }
