// processes.cpp - fork, vfork, exec, popen and system in a program with connections
#include <spawn.h>
#include <sys/wait.h>

#include "scenario.h"

using namespace scenario;

namespace {

void said_status(const char* what, int status) {
  if (WIFEXITED(status)) note("%s exited %d", what, WEXITSTATUS(status));
  if (WIFSIGNALED(status)) note("%s killed by %d", what, WTERMSIG(status));
}

// Runs `body` in a child to its end.
void in_child(const char* what, const std::function<void()>& body) {
  fflush(stdout);
  const pid_t child = must("fork", fork());
  if (child == 0) {
    body();
    fflush(stdout);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  said_status(what, status);
}

void still_works(int fd) {
  char buffer[16];
  said("send", send(fd, "hello", 5, 0));
  peer_said("recv 1 5");
  peer_said("text 1 world");
  said_data("recv", recv(fd, buffer, 5, MSG_WAITALL), buffer);
}

void child_exits_at_once() {
  both_ways([](int fd) {
    in_child("_exit", [] {});
    still_works(fd);
    in_child("exit", [] { exit(7); });
    still_works(fd);
    in_child("abort", [] {
      signal(SIGABRT, SIG_DFL);
      raise(SIGKILL);
    });
    still_works(fd);
    in_child("close", [fd] { close(fd); });
    still_works(fd);
    in_child("shut files", [] { close_range(3, 190, 0); });
    still_works(fd);
  });
}

void listener_survives_children() {
  const int listener = listening(anywhere());
  in_child("_exit", [] {});
  in_child("exit", [listener] {
    close(listener);
    exit(0);
  });
  peer("connect 1 %d", port_of(listener));
  const int fd = accept(listener, nullptr, nullptr);
  worked("accept", fd);
  still_works(fd);
  close(fd);
  close(listener);
}

void other_programs() {
  both_ways([](int fd) {
    said("system", system("exit 3"));
    still_works(fd);
    FILE* output = popen("echo from a child", "r");
    char line[64] = {};
    if (fgets(line, sizeof line, output) == nullptr) note("nothing");
    note("popen: %s", std::string(line, strcspn(line, "\n")).c_str());
    said("pclose", pclose(output));
    still_works(fd);
    in_child("exec", [] { execl("/bin/sh", "sh", "-c", "exit 5", nullptr); });
    still_works(fd);
    pid_t child = 0;
    char* arguments[] = {const_cast<char*>("true"), nullptr};
    said("posix_spawn", posix_spawnp(&child, "true", nullptr, nullptr, arguments, environ));
    int status = 0;
    waitpid(child, &status, 0);
    said_status("spawned", status);
    still_works(fd);
    said("no such program",
         posix_spawnp(&child, "no-such-program", nullptr, nullptr, arguments, environ) != 0);
    const pid_t shared = vfork();
    if (shared == 0) _exit(9);
    waitpid(shared, &status, 0);
    said_status("vforked", status);
    still_works(fd);
  });
}

// What an exec'ed program finds: our descriptors, unless they are closed upon exec.
void descriptors_over_exec() {
  const int fd = connected();
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  const std::string command = "test -e /proc/self/fd/" + std::to_string(fd) + "; echo $?";
  FILE* output = popen(command.c_str(), "r");
  char line[64] = {};
  if (fgets(line, sizeof line, output) == nullptr) note("nothing");
  note("with CLOEXEC: %d", atoi(line));
  pclose(output);
  still_works(fd);
  close(fd);
}

// The child opens its own, while the parent's goes on.
void child_makes_a_connection() {
  const int fd = connected();
  const int port = number(peer("listen 3"));
  fflush(stdout);
  const pid_t child = must("fork", fork());
  if (child == 0) {
    const int own = tcp();
    sockaddr_in address = theirs(port);
    char byte = 0;
    const bool fine = connect(own, plain(address), sizeof address) == 0 &&
                      send(own, "child", 5, 0) == 5 && recv(own, &byte, 1, 0) == 1 && byte == 'x' &&
                      recv(own, &byte, 1, 0) == 0;
    _exit(fine ? 0 : 1);
  }
  peer_said("accept 3 2");
  peer_said("recv 2 5");
  still_works(fd);
  peer_said("text 2 x");
  peer_said("close 2");
  int status = 0;
  waitpid(child, &status, 0);
  said_status("child", status);
  still_works(fd);
  close(fd);
}

void child_listens() {
  const int fd = connected();
  int ends[2];
  must("pipe", pipe(ends));
  fflush(stdout);
  const pid_t child = must("fork", fork());
  if (child == 0) {
    const int listener = listening();
    const int port = port_of(listener);
    if (write(ends[1], &port, sizeof port) < 0) _exit(1);
    const int own = accept(listener, nullptr, nullptr);
    const bool fine = own >= 0 && send(own, "child", 5, 0) == 5;
    close(own);
    exit(fine ? 0 : 1);
  }
  int port = 0;
  if (read(ends[0], &port, sizeof port) != sizeof port) give_up("port");
  note("connect: %s", peer("connect 2 %d", port).c_str());
  peer_said("recv 2 100");
  still_works(fd);
  int status = 0;
  waitpid(child, &status, 0);
  said_status("child", status);
  close(fd);
  close(ends[0]);
  close(ends[1]);
}

// Fork before any socket: the usual server that goes into the background.
void grandchild_serves() {
  int ends[2];
  must("pipe", pipe(ends));
  fflush(stdout);
  const pid_t child = must("fork", fork());
  if (child == 0) {
    setsid();
    if (fork() != 0) _exit(0);
    const int listener = listening();
    const int port = port_of(listener);
    if (write(ends[1], &port, sizeof port) < 0) _exit(1);
    for (int i = 0; i < 2; ++i) {
      const int own = accept(listener, nullptr, nullptr);
      char buffer[16];
      const ssize_t got = recv(own, buffer, sizeof buffer, 0);
      if (got > 0) send(own, buffer, static_cast<size_t>(got), 0);
      close(own);
    }
    exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  said_status("child", status);
  int port = 0;
  if (read(ends[0], &port, sizeof port) != sizeof port) give_up("port");
  for (int i = 1; i <= 2; ++i) {
    note("connect: %s", peer("connect %d %d", i, port).c_str());
    peer_said("text %d hello", i);
    peer_said("recv %d 100", i);
  }
  close(ends[0]);
  close(ends[1]);
}

// What a program sent before it ended arrives.
void exit_after_send() {
  const int port = number(peer("listen 3"));
  for (const bool polite : {true, false}) {
    fflush(stdout);
    const pid_t child = must("fork", fork());
    if (child == 0) {
      const int own = tcp();
      sockaddr_in address = theirs(port);
      const std::string data = pattern(200000);
      const bool fine = connect(own, plain(address), sizeof address) == 0 &&
                        send(own, data.data(), data.size(), 0) == 200000;
      if (polite) close(own);
      exit(fine ? 0 : 1);
    }
    int status = 0;
    peer_said("accept 3 2");
    peer_said("recv 2 200001");
    waitpid(child, &status, 0);
    said_status("child", status);
    peer("close 2");
  }
}

constexpr Scenario kScenarios[] = {
    {"child_exits_at_once", Proof::kTcp, child_exits_at_once},
    {"listener_survives_children", Proof::kTcp, listener_survives_children},
    {"other_programs", Proof::kTcp, other_programs},
    {"descriptors_over_exec", Proof::kTcp, descriptors_over_exec},
    {"child_makes_a_connection", Proof::kTcpHybrid, child_makes_a_connection},
    {"child_listens", Proof::kTcpHybrid, child_listens},
    {"grandchild_serves", Proof::kNone, grandchild_serves},
    {"exit_after_send", Proof::kNone, exit_after_send},
};

}  // namespace

int main(int argc, char** argv) { return scenario::main(argc, argv, kScenarios); }
