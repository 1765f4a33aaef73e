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
    Name address = theirs(port);
    char byte = 0;
    const bool fine = connect(own, plain(address), size(address)) == 0 &&
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

// The child waits on the listener of its parent as on one of its own.
void child_accepts_on_inherited_listener() {
  const int listener = listening(anywhere());
  const int connection = connected();
  in_child("child", [listener] {
    note("O_NONBLOCK: %d", (fcntl(listener, F_GETFL) & O_NONBLOCK) != 0);
    int fd = -1;
    Name from{};
    socklen_t length = size(from);
    Worker worker([&] { fd = accept(listener, plain(from), &length); });
    worker.await_blocked();
    note("waits: %d", !worker.done());
    Name address = loopback(port_of(listener));
    const int client = tcp();
    said("connect", connect(client, plain(address), size(address)));
    worker.join();
    said_name("accept", fd >= 0 ? 0 : -1, from, length);
    char buffer[16];
    said("send", send(client, "hello", 5, 0));
    said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
    said_poll(listener);
    set_timeout(listener, SO_RCVTIMEO, 20);
    said("accept with a time limit", accept(listener, nullptr, nullptr));
    set_nonblocking(listener, true);
    note("O_NONBLOCK: %d", (fcntl(listener, F_GETFL) & O_NONBLOCK) != 0);
    said("accept", accept(listener, nullptr, nullptr));
    set_nonblocking(listener, false);
    said_sockname(listener);
    said("listen", listen(listener, 3));
    said("connect a listener", connect(listener, plain(address), size(address)));
    said("close", close(listener));
  });
  still_works(connection);
  close(connection);
  close(listener);
}

// Echoes what comes over the next connections.
void serve(int listener, int connections) {
  for (int i = 0; i < connections; ++i) {
    const int fd = accept(listener, nullptr, nullptr);
    char buffer[16];
    const ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got > 0) send(fd, buffer, static_cast<size_t>(got), 0);
    close(fd);
  }
}

void said_echo(int slot, int port) {
  note("connect: %s", peer("connect %d %d", slot, port).c_str());
  peer_said("text %d hello", slot);
  peer_said("recv %d 100", slot);
  peer("close %d", slot);
}

void said_children(int count) {
  for (int i = 0; i < count; ++i) {
    int status = 0;
    must("wait", wait(&status));
    said_status("child", status);
  }
}

// The parent of a server that forks has called listen(), and leaves the rest to its children.
void children_serve_at_their_parents_listener() {
  const int listener = listening(anywhere());
  const int port = port_of(listener);
  fflush(stdout);
  pid_t children[2];
  for (pid_t& child : children) {
    child = must("fork", fork());
    if (child == 0) {
      for (;;) serve(listener, 1);
    }
  }
  for (int i = 1; i <= 8; ++i) said_echo(i, port);
  close(listener);
  said_echo(9, port);
  for (const pid_t child : children) kill(child, SIGKILL);
  said_children(2);
}

// On the kernel the queue is the listener's, whoever has it open.
void queue_of_a_listener_that_is_closed() {
  const int listener = listening(anywhere());
  note("connect: %s", peer("connect 1 %d", port_of(listener)).c_str());
  peer_said("text 1 early");
  await(listener, POLLIN);
  int ends[2];
  must("pipe", pipe(ends));
  fflush(stdout);
  if (must("fork", fork()) == 0) {
    char byte = 0;
    close(ends[1]);
    if (read(ends[0], &byte, 1) != 0) _exit(1);
    serve(listener, 1);
    _exit(0);
  }
  close(listener);
  for (const int end : ends) close(end);
  peer_said("recv 1 100");
  peer("close 1");
  said_children(1);
}

// What is new goes to the sockets that are left.
void one_of_a_group_is_closed() {
  const int listener = tcp();
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  Name address = anywhere();
  must("bind", bind(listener, plain(address), size(address)));
  must("listen", listen(listener, 8));
  const int port = port_of(listener);
  int ends[2];
  must("pipe", pipe(ends));
  fflush(stdout);
  const pid_t child = must("fork", fork());
  if (child == 0) {
    close(listener);
    const int own = tcp();
    setsockopt(own, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    address = anywhere(port);
    const bool fine = bind(own, plain(address), size(address)) == 0 && listen(own, 8) == 0;
    if (!fine || write(ends[1], "x", 1) != 1) _exit(1);
    serve(own, 6);
    _exit(0);
  }
  char byte = 0;
  must("read", static_cast<int>(read(ends[0], &byte, 1)));
  close(listener);
  for (int i = 1; i <= 6; ++i) said_echo(i, port);
  said_children(1);
  for (const int end : ends) close(end);
}

// What the parent has closed is gone, although its child lives on.
void port_is_free_beside_a_child() {
  const int fd = connected();
  Name address = mine(port_of(fd));
  said("close", close(fd));
  peer_said("recv 1 100");
  int ends[2];
  must("pipe", pipe(ends));
  fflush(stdout);
  const pid_t child = must("fork", fork());
  if (child == 0) {
    char byte;
    close(ends[1]);
    _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);
  }
  peer_said("reset 1");
  const int again = tcp();
  const bool free = eventually([&] { return bind(again, plain(address), size(address)) == 0; });
  note("the port is free: %d", free);
  close(again);
  close(ends[1]);
  int status = 0;
  waitpid(child, &status, 0);
  said_status("child", status);
  close(ends[0]);
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

// A child with a connection of its own, which the peer accepts as its slot 2.
template <typename Body>
pid_t child_with_connection(int port, Body body) {
  fflush(stdout);
  const pid_t child = must("fork", fork());
  if (child == 0) {
    const int own = tcp();
    Name address = theirs(port);
    must("connect", connect(own, plain(address), size(address)));
    body(own);
    _exit(1);
  }
  return child;
}

void said_end(const char* what, pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  said_status(what, status);
}

// What a program sent before it ended arrives.
void exit_after_send(void (*leave)(int)) {
  const int port = number(peer("listen 3"));
  for (const bool polite : {true, false}) {
    const pid_t child = child_with_connection(port, [=](int own) {
      const std::string data = pattern(200000);
      const bool fine = send(own, data.data(), data.size(), 0) == 200000;
      if (polite) close(own);
      leave(fine ? 0 : 1);
    });
    peer_said("accept 3 2");
    peer_said("recv 2 200001");
    said_end("child", child);
    peer("close 2");
  }
}

// Its own signals, pending or not, must not cut it short.
void exit_with_an_alarm_pending(int status) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  raise(SIGALRM);
  alarm_every_ms(1);
  _exit(status);
}

void exit_after_send() { exit_after_send(exit); }
void alarmed_exit_after_send() { exit_after_send(exit_with_an_alarm_pending); }
void underscore_exit_after_send() { exit_after_send(_exit); }
void quick_exit_after_send() { exit_after_send(quick_exit); }

// Signal handlers may call _exit, whatever they have interrupted.
void exit_out_of_a_handler() {
  const int port = number(peer("listen 3"));
  for (int i = 0; i < 8; ++i) {
    const pid_t child = child_with_connection(port, [=](int own) {
      on_signal(
          SIGALRM, [](int) { _exit(7); }, 0);
      const itimerval timer{{0, 0}, {0, 3000 + i * 1111}};
      must("setitimer", setitimer(ITIMER_REAL, &timer, nullptr));
      char byte = 0;
      while (recv(own, &byte, 1, MSG_DONTWAIT) < 0) free(malloc(2000));
    });
    peer_said("accept 3 2");
    said_end("child", child);
    peer("close 2");
  }
}

// One connection keeps the end waiting, another thread goes on using one that is reset meanwhile:
// something is unread.
void exit_beside_a_thread() {
  const int port = number(peer("listen 3"));
  void (*const ways[])(int) = {exit, _exit};
  for (void (*leave)(int) : ways) {
    int ends[2];
    must("pipe", pipe(ends));
    const pid_t child = child_with_connection(port, [=](int own) {
      const int other = tcp();
      Name address = theirs(port);
      must("connect", connect(other, plain(address), size(address)));
      eventually([=] { return unread(other) == 6; });
      std::thread([=] {
        char byte = 0;
        while (recv(other, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0) {
        }
        close(other);
      }).detach();
      const size_t sent = fill(own);
      must("write", static_cast<int>(write(ends[1], &sent, sizeof sent)));
      leave(5);
    });
    peer_said("accept 3 2");
    peer_said("accept 3 4");
    peer_said("text 4 unread");
    size_t sent = 0;
    must("read", static_cast<int>(read(ends[0], &sent, sizeof sent)));
    usleep(100'000);
    const std::string got = peer("recv 2 %zu", sent + 1);
    note("all, and the end: %d",
         got.starts_with(std::to_string(sent) + " ") && got.ends_with(" EOF"));
    said_end("child", child);
    peer_said("recv 4 1");
    for (const int slot : {2, 4}) peer("close %d", slot);
    for (const int end : ends) close(end);
  }
}

constexpr Scenario kScenarios[] = {
    {"child_exits_at_once", Proof::kTcp, child_exits_at_once},
    {"listener_survives_children", Proof::kTcp, listener_survives_children},
    {"other_programs", Proof::kTcp, other_programs},
    {"descriptors_over_exec", Proof::kTcp, descriptors_over_exec},
    {"child_makes_a_connection", Proof::kTcpHybrid, child_makes_a_connection},
    {"child_listens", Proof::kTcpHybrid, child_listens},
    {"child_accepts_on_inherited_listener", Proof::kTcp, child_accepts_on_inherited_listener},
    {"children_serve_at_their_parents_listener", Proof::kTcpHybrid,
     children_serve_at_their_parents_listener},
    {"queue_of_a_listener_that_is_closed", Proof::kTcpHybrid, queue_of_a_listener_that_is_closed},
    {"one_of_a_group_is_closed", Proof::kTcpHybrid, one_of_a_group_is_closed},
    {"port_is_free_beside_a_child", Proof::kTcp, port_is_free_beside_a_child},
    {"grandchild_serves", Proof::kNone, grandchild_serves},
    {"exit_after_send", Proof::kTcpHybrid, exit_after_send},
    {"underscore_exit_after_send", Proof::kTcpHybrid, underscore_exit_after_send},
    {"quick_exit_after_send", Proof::kTcpHybrid, quick_exit_after_send},
    {"alarmed_exit_after_send", Proof::kTcpHybrid, alarmed_exit_after_send},
    {"exit_out_of_a_handler", Proof::kTcpHybrid, exit_out_of_a_handler},
    {"exit_beside_a_thread", Proof::kTcpHybrid, exit_beside_a_thread},
};

}  // namespace

int main(int argc, char** argv) { return scenario::main(argc, argv, kScenarios); }
