// moves.cpp - connections that more than one process has: fork, exec, descriptors that are passed
#include <spawn.h>
#include <sys/wait.h>

#include "scenario.h"

using namespace scenario;

namespace {

void said_end(const char* what, pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  note("%s: %s %d", what, WIFEXITED(status) ? "exited" : "killed",
       WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

template <typename Body>
pid_t in_background(Body body) {
  fflush(stdout);
  const pid_t child = must("fork", fork());
  if (child == 0) {
    body();
    fflush(stdout);
    _exit(0);
  }
  return child;
}

// Runs `body` in a child to its end.
template <typename Body>
void in_child(const char* what, Body body) {
  said_end(what, in_background(body));
}

void exchange(const char* who, int fd) {
  note("-- %s", who);
  char buffer[16];
  said("send", send(fd, "hello", 5, 0));
  peer_said("recv 1 5");
  peer_said("text 1 world");
  said_data("recv", recv(fd, buffer, 5, MSG_WAITALL), buffer);
}

// ---- fork

void child_and_parent_take_turns() {
  both_ways([](int fd) {
    exchange("parent", fd);
    in_child("child", [=] { exchange("child", fd); });
    exchange("parent", fd);
    in_child("child", [=] { exchange("child", fd); });
    exchange("parent", fd);
    said_sockname(fd);
    said_peername(fd);
  });
}

// What a server does that forks for each connection.
void parent_closes_and_child_serves() {
  for (const bool at_once : {true, false}) {
    const int fd = accepted();
    int ends[2];
    must("pipe", pipe(ends));
    const pid_t child = in_background([&] {
      char byte = 0;
      close(ends[1]);
      if (!at_once && read(ends[0], &byte, 1) < 0) give_up("pipe");
      exchange("child", fd);
    });
    must("close", close(fd));
    close(ends[1]);
    said_end("child", child);
    peer_said("recv 1 1");
    peer_said("close 1");
    close(ends[0]);
  }
}

// As long as somebody has it, the connection is open.
void last_of_two_closes() {
  both_ways([](int fd) {
    int ends[2];
    must("pipe", pipe(ends));
    const pid_t child = in_background([&] {
      char byte = 0;
      close(ends[1]);
      if (read(ends[0], &byte, 1) < 0) give_up("pipe");
      said("child: close", close(fd));
    });
    const int other = dup(fd);
    said("close", close(fd));
    said("close", close(other));
    peer_said("text 1 anybody?");
    peer_said("nodelay 1 1");
    close(ends[1]);
    close(ends[0]);
    said_end("child", child);
    // Something was unread.
    peer_said("recv 1 1");
  });
}

void child_that_never_uses_it_disturbs_nobody() {
  both_ways([](int fd) {
    int ends[2];
    must("pipe", pipe(ends));
    const pid_t child = in_background([&] {
      char byte = 0;
      close(ends[1]);
      if (read(ends[0], &byte, 1) < 0) give_up("pipe");
    });
    for (int i = 0; i < 3; ++i) exchange("parent", fd);
    close(ends[1]);
    close(ends[0]);
    said_end("child", child);
    exchange("parent", fd);
  });
}

// As the peer says it.
std::string digest_of(const std::string& data, ssize_t bytes) {
  char text[16];
  snprintf(text, sizeof text, "#%08x", digest(data.data(), static_cast<size_t>(bytes)));
  return text;
}

// Bytes wait in both directions when the connection moves.
void queues_move_with_it() {
  both_ways([](int fd) {
    // More than the peer's buffer takes, and so little more that it need not drop any of it.
    const std::string data = pattern(200000);
    const ssize_t sent = send(fd, data.data(), data.size(), MSG_DONTWAIT);
    peer_said("send 1 100000");
    // The kernel's first window is 65535.
    eventually([=] { return unread(fd) > 50000; });
    char start[100];
    said_data("recv", recv(fd, start, sizeof start, 0), start);
    in_child("child", [=] {
      char more[100];
      said_data("child: recv", recv(fd, more, sizeof more, 0), more);
    });
    receive_exactly(fd, 100000 - 200);
    const std::string got = peer("recv 1 %zd", sent);
    note("all of it came: %d", number(got) == sent && got.ends_with(digest_of(data, sent)));
    exchange("parent", fd);
  });
}

void both_ends_half_closed() {
  both_ways([](int fd) {
    said("send", send(fd, "question", 8, 0));
    said("shutdown", shutdown(fd, SHUT_WR));
    peer_said("recv 1 100");
    in_child("child", [=] {
      char buffer[16];
      said("child: send", send(fd, "x", 1, MSG_NOSIGNAL));
      peer_said("text 1 answer");
      said_data("child: recv", recv(fd, buffer, sizeof buffer, 0), buffer);
    });
    peer_said("shut 1 1");
    char byte = 0;
    said("recv", recv(fd, &byte, 1, 0));
  });
  note("-- the peer first");
  both_ways([](int fd) {
    peer_said("text 1 question");
    peer_said("shut 1 1");
    await(fd, POLLRDHUP);
    in_child("child", [=] {
      char buffer[16];
      said_data("child: recv", recv(fd, buffer, sizeof buffer, 0), buffer);
      said("child: recv", recv(fd, buffer, sizeof buffer, 0));
      said("child: send", send(fd, "answer", 6, 0));
    });
    peer_said("recv 1 6");
    said("send", send(fd, "more", 4, 0));
    peer_said("recv 1 4");
  });
}

void both_have_finished() {
  const int fd = connected();
  said("shutdown", shutdown(fd, SHUT_WR));
  peer_said("recv 1 1");
  peer_said("text 1 last");
  peer_said("shut 1 1");
  await(fd, POLLHUP);
  in_child("child", [=] {
    char buffer[16];
    said_data("child: recv", recv(fd, buffer, sizeof buffer, 0), buffer);
    said("child: recv", recv(fd, buffer, sizeof buffer, 0));
  });
  char byte = 0;
  said("recv", recv(fd, &byte, 1, 0));
  close(fd);
}

// A call that waits in the parent goes on where the connection is.
void waiting_calls_go_with_it() {
  both_ways([](int fd) {
    char buffer[16];
    ssize_t got = -1;
    Worker reader([&] { got = recv(fd, buffer, 10, MSG_WAITALL); });
    reader.await_blocked();
    peer_said("text 1 first");
    in_child("child", [=] { said("child: send", send(fd, "from child", 10, 0)); });
    peer_said("recv 1 10");
    peer_said("text 1 other");
    reader.join();
    said_data("recv", got, buffer);
    short events = 0;
    Worker poller([&] {
      pollfd one{fd, POLLIN, 0};
      poll(&one, 1, kLimitMs);
      events = one.revents;
    });
    poller.await_blocked();
    in_child("child", [=] { said("child: send", send(fd, "again", 5, 0)); });
    peer_said("recv 1 5");
    peer_said("text 1 x");
    poller.join();
    note("poll = %s", event_names(static_cast<uint16_t>(events)).c_str());
    said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
  });
}

void epoll_goes_with_it() {
  both_ways([](int fd) {
    const int set = must("epoll", epoll_create1(0));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = 77;
    must("epoll_ctl", epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
    in_child("child", [=] { said("child: send", send(fd, "hello", 5, 0)); });
    peer_said("recv 1 5");
    peer_said("text 1 x");
    epoll_event out{};
    said("epoll_wait", epoll_wait(set, &out, 1, kLimitMs));
    note("%u: %s", out.data.u32, event_names(out.events).c_str());
    said("again", epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
    close(set);
  });
}

void grandchild_uses_it() {
  both_ways([](int fd) {
    in_child("child", [=] {
      const int own = dup(fd);
      static_cast<void>(own);
      in_child("grandchild", [=] { exchange("grandchild", fd); });
      exchange("child", fd);
    });
    exchange("parent", fd);
    in_child("child", [=] { in_child("grandchild", [=] { exchange("grandchild", fd); }); });
  });
}

// The parent ends while its child goes on: daemon(3).
void orphan_goes_on() {
  const int fd = connected();
  int ends[2];
  int start[2];
  must("pipe", pipe(ends));
  must("pipe", pipe(start));
  const pid_t child = in_background([&] {
    const pid_t orphan = must("fork", fork());
    if (orphan != 0) _exit(0);
    char byte = 0;
    close(start[1]);
    if (read(start[0], &byte, 1) != 0) give_up("pipe");
    exchange("orphan", fd);
    fflush(stdout);
    close(ends[1]);
    _exit(0);
  });
  said_end("child", child);
  fflush(stdout);
  for (const int end : {ends[1], start[0], start[1]}) close(end);
  char byte = 0;
  if (read(ends[0], &byte, 1) != 0) give_up("pipe");
  close(ends[0]);
  exchange("parent", fd);
  close(fd);
}

// ---- exec

// ---- streams of libc, in the process that has opened the connection

template <typename Body>
pid_t child_with_connection(int port, Body body) {
  return in_background([=] {
    const int own = tcp();
    Name address = theirs(port);
    must("connect", connect(own, plain(address), size(address)));
    body(own);
  });
}

[[noreturn]] void speak_through_streams() {
  char word[8] = {};
  printf("hello ");
  fflush(stdout);
  const size_t got = fread(word, 1, 3, stdin);
  printf("%zu %s %d ", got, word, fileno(stdin));
  fflush(stdout);
  if (write(STDOUT_FILENO, "world", 5) != 5) _exit(1);
  _exit(fgetc(stdin) == EOF ? 0 : 2);
}

void said_by_streams(int port, void (*body)(int)) {
  const pid_t child = child_with_connection(port, body);
  peer_said("accept 3 1");
  peer_said("recv 1 6");
  peer_said("text 1 abc");
  peer_said("recv 1 13");
  peer_said("shut 1 1");
  peer_said("recv 1 1");
  said_end("child", child);
}

void streams_over_a_connection() {
  const int port = number(peer("listen 3"));
  note("-- dup2");
  said_by_streams(port, [](int fd) {
    for (const int to : {0, 1}) must("dup2", dup2(fd, to));
    close(fd);
    speak_through_streams();
  });
  note("-- dup, and F_DUPFD");
  said_by_streams(port, [](int fd) {
    for (const int to : {0, 1}) close(to);
    if (dup(fd) != 0 || fcntl(fd, F_DUPFD, 0) != 1) _exit(3);
    speak_through_streams();
  });
}

// The parent ends inside the call, with the connection that its child goes on with.
void daemon_goes_on() {
  const int port = number(peer("listen 3"));
  const pid_t child = child_with_connection(port, [](int fd) {
    must("send", static_cast<int>(send(fd, "before", 6, 0)));
    if (daemon(1, 0) != 0) _exit(1);
    must("send", static_cast<int>(send(fd, "after", 5, 0)));
    char data[8];
    const long got = recv(fd, data, sizeof data, 0);
    must("send", static_cast<int>(send(fd, data, got > 0 ? static_cast<size_t>(got) : 0, 0)));
    // What was 0 before is no socket any more.
    must("write", static_cast<int>(write(STDOUT_FILENO, "nowhere", 7)));
    _exit(0);
  });
  peer_said("accept 3 1");
  said_end("child", child);
  peer_said("recv 1 11");
  peer_said("text 1 abc");
  peer_said("recv 1 3");
  peer_said("recv 1 1");
}

// `fd` as the standard input and output of a program, in its own process.
[[noreturn]] void become_cat(int fd) {
  dup2(fd, 0);
  dup2(fd, 1);
  execlp("cat", "cat", nullptr);
  _exit(1);
}

void echoed_by_a_program(bool alone) {
  peer_said("text 1 through a pipe");
  peer_said("recv 1 14");
  peer_said("send 1 100000");
  peer_said("recv 1 100000");
  peer_said("shut 1 1");
  if (alone) peer_said("recv 1 1");
}

void child_becomes_a_program() {
  both_ways([](int fd) {
    const pid_t child = in_background([=] { become_cat(fd); });
    echoed_by_a_program(false);
    said_end("cat", child);
  });
}

void program_takes_its_connection_over_exec() {
  const int port = number(peer("listen 3"));
  const pid_t child = child_with_connection(port, become_cat);
  peer_said("accept 3 1");
  echoed_by_a_program(true);
  said_end("cat", child);
}

// All forms of exec; what does not survive is closed as by the kernel.
void every_exec_sends_what_was_sent() {
  static char name[] = "true";
  static char* arguments[] = {name, nullptr};
  using Exec = void (*)();
  static constexpr Exec kExecs[] = {
      [] { execv("/bin/true", arguments); },
      [] { execve("/bin/true", arguments, environ); },
      [] { execvp("true", arguments); },
      [] { execvpe("true", arguments, environ); },
      [] { execl("/bin/true", "true", nullptr); },
      [] { execlp("true", "true", "an", "argument", nullptr); },
      [] { execle("/bin/true", "true", "an", "argument", nullptr, environ); },
      [] { fexecve(open("/bin/true", O_RDONLY), arguments, environ); },
      [] { execveat(AT_FDCWD, "/bin/true", arguments, environ, 0); },
  };
  const int port = number(peer("listen 3"));
  for (const Exec exec : kExecs) {
    const pid_t child = child_with_connection(port, [=](int own) {
      fcntl(own, F_SETFD, FD_CLOEXEC);
      const std::string data = pattern(200000);
      if (send(own, data.data(), data.size(), 0) != 200000) _exit(2);
      exec();
      _exit(3);
    });
    peer_said("accept 3 1");
    peer_said("recv 1 200001");
    said_end("true", child);
    peer("close 1");
  }
}

void exec_that_fails_costs_nothing() {
  both_ways([](int fd) {
    said("execl", execl("/no/such/program", "program", nullptr));
    exchange("still here", fd);
  });
}

void spawned_program_has_it_as_its_input() {
  both_ways([](int fd) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    said("adddup2", posix_spawn_file_actions_adddup2(&actions, fd, 0));
    said("adddup2", posix_spawn_file_actions_adddup2(&actions, fd, 1));
    char name[] = "cat";
    char* arguments[] = {name, nullptr};
    pid_t child = 0;
    said("posix_spawnp", posix_spawnp(&child, "cat", &actions, nullptr, arguments, environ));
    posix_spawn_file_actions_destroy(&actions);
    echoed_by_a_program(false);
    said_end("cat", child);
  });
}

// ---- descriptors that are passed

void pass(int line, int fd) {
  char byte = '!';
  iovec piece{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(header), &fd, sizeof fd);
  must("sendmsg", static_cast<int>(sendmsg(line, &message, 0)));
}

int passed(int line) {
  char byte = 0;
  iovec piece{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  must("recvmsg", static_cast<int>(recvmsg(line, &message, 0)));
  int fd = -1;
  memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
  return fd;
}

void connection_is_passed_on() {
  int line[2];
  must("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, line));
  const pid_t child = in_background([&] {
    close(line[0]);
    for (int i = 0; i < 2; ++i) {
      const int fd = passed(line[1]);
      exchange("who got it", fd);
      said("close", close(fd));
      fflush(stdout);
      pass(line[1], line[1]);
    }
  });
  close(line[1]);
  for (const bool stays : {false, true}) {
    const int fd = connected();
    peer_said("text 1 un");
    eventually([=] { return unread(fd) == 2; });
    char buffer[4];
    said_data("recv", recv(fd, buffer, 2, 0), buffer);
    fflush(stdout);
    pass(line[0], fd);
    if (!stays) must("close", close(fd));
    close(passed(line[0]));
    if (stays) exchange("who gave it", fd);
    if (stays) said("close", close(fd));
    peer_said("recv 1 1");
    peer_said("close 1");
  }
  said_end("child", child);
  close(line[0]);
}

constexpr Scenario kScenarios[] = {
    {"child_and_parent_take_turns", Proof::kTcpHybrid, child_and_parent_take_turns},
    {"parent_closes_and_child_serves", Proof::kTcpHybrid, parent_closes_and_child_serves},
    {"last_of_two_closes", Proof::kTcpHybrid, last_of_two_closes},
    {"child_that_never_uses_it_disturbs_nobody", Proof::kTcp,
     child_that_never_uses_it_disturbs_nobody},
    {"queues_move_with_it", Proof::kTcpHybrid, queues_move_with_it},
    {"both_ends_half_closed", Proof::kTcpHybrid, both_ends_half_closed},
    {"both_have_finished", Proof::kTcpHybrid, both_have_finished},
    {"waiting_calls_go_with_it", Proof::kTcpHybrid, waiting_calls_go_with_it},
    {"epoll_goes_with_it", Proof::kTcpHybrid, epoll_goes_with_it},
    {"grandchild_uses_it", Proof::kTcpHybrid, grandchild_uses_it},
    {"orphan_goes_on", Proof::kTcpHybrid, orphan_goes_on},
    {"daemon_goes_on", Proof::kTcpHybrid, daemon_goes_on},
    {"streams_over_a_connection", Proof::kTcpHybrid, streams_over_a_connection},
    {"child_becomes_a_program", Proof::kTcpHybrid, child_becomes_a_program},
    {"program_takes_its_connection_over_exec", Proof::kTcpHybrid,
     program_takes_its_connection_over_exec},
    {"every_exec_sends_what_was_sent", Proof::kTcpHybrid, every_exec_sends_what_was_sent},
    {"exec_that_fails_costs_nothing", Proof::kTcpHybrid, exec_that_fails_costs_nothing},
    {"spawned_program_has_it_as_its_input", Proof::kTcpHybrid, spawned_program_has_it_as_its_input},
    {"connection_is_passed_on", Proof::kTcpHybrid, connection_is_passed_on},
};

}  // namespace

int main(int argc, char** argv) { return scenario::main(argc, argv, kScenarios); }
