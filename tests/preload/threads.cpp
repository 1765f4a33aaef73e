// threads.cpp - sockets used by several threads, by signal handlers, and left by cancellation
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>

#include <csetjmp>
#include <memory>

#include "scenario.h"

using namespace scenario;

namespace {

void send_while_recv_blocks() {
  both_ways([](int fd) {
    char buffer[16] = {};
    ssize_t got = 0;
    Worker worker([&] { got = recv(fd, buffer, sizeof buffer, 0); });
    worker.await_blocked();
    said("send", send(fd, "question", 8, 0));
    peer_said("recv 1 8");
    note("still blocked: %d", !worker.done());
    peer_said("text 1 answer");
    worker.join();
    said_data("blocked recv", got, buffer);
  });
}

void two_readers_of_one_socket() {
  both_ways([](int fd) {
    char first = 0;
    char second = 0;
    Worker one([&] { recv(fd, &first, 1, 0); });
    Worker two([&] { recv(fd, &second, 1, 0); });
    one.await_blocked();
    two.await_blocked();
    peer_said("text 1 a");
    peer_said("text 1 b");
    one.join();
    two.join();
    note("each has one: %d", first + second == 'a' + 'b');
  });
}

// More than the process has blocked at once before, so each needs something to be woken by.
void many_readers_and_no_descriptors() {
  const int fd = connected();
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  // What /proc is read through, later.
  const int spare = must("dup", dup(fd));
  rlimit tight = before;
  tight.rlim_cur = static_cast<rlim_t>(spare) + 1;
  must("setrlimit", setrlimit(RLIMIT_NOFILE, &tight));
  constexpr int kThreads = 24;
  std::atomic<int> began = 0;
  std::atomic<int> bytes = 0;
  {
    std::vector<std::unique_ptr<Worker>> workers;
    for (int i = 0; i < kThreads; ++i) {
      workers.push_back(std::make_unique<Worker>([&] {
        char byte;
        ++began;
        bytes += static_cast<int>(recv(fd, &byte, 1, 0));
      }));
    }
    while (began < kThreads) usleep(1000);
    usleep(50000);  // those that block later have something to be woken by
    close(spare);
    for (const auto& one : workers) one->await_blocked();
    for (int i = 0; i < kThreads; ++i) peer_said("text 1 x");
    for (const auto& one : workers) one->join();
  }
  note("bytes %d", bytes.load());
  must("setrlimit", setrlimit(RLIMIT_NOFILE, &before));
  close(fd);
}

void many_threads_on_one_listener() {
  const int listener = listening();
  constexpr int kThreads = 6;
  int fds[kThreads];
  {
    std::vector<std::unique_ptr<Worker>> workers;
    for (int& fd : fds) {
      workers.push_back(std::make_unique<Worker>([&fd, listener] {
        fd = accept(listener, nullptr, nullptr);
        send(fd, "hello", 5, 0);
      }));
    }
    for (const auto& one : workers) one->await_blocked();
    for (int i = 0; i < kThreads; ++i) peer("connect %d %d", i + 1, port_of(listener));
    for (const auto& one : workers) one->join();
  }
  for (int i = 0; i < kThreads; ++i) peer_said("recv %d 5", i + 1);
  for (const int fd : fds) close(fd);
  close(listener);
}

void many_threads_connect() {
  const int port = number(peer("listen 0 16"));
  constexpr int kThreads = 6;
  std::vector<std::unique_ptr<Worker>> workers;
  std::atomic<int> fine = 0;
  for (int i = 0; i < kThreads; ++i) {
    workers.push_back(std::make_unique<Worker>([&, port] {
      const int fd = tcp();
      Name address = theirs(port);
      if (connect(fd, plain(address), size(address)) == 0 && send(fd, "hello", 5, 0) == 5) ++fine;
      char byte;
      if (recv(fd, &byte, 1, 0) == 1) ++fine;
      close(fd);
    }));
  }
  for (int i = 1; i <= kThreads; ++i) {
    peer_said("accept 0 %d", i);
    peer_said("recv %d 5", i);
    peer_said("text %d x", i);
  }
  for (const auto& one : workers) one->join();
  note("fine %d", fine.load());
  for (int i = 1; i <= kThreads; ++i) peer_said("recv %d 5", i);
}

void many_writers() {
  both_ways([](int fd) {
    std::vector<std::unique_ptr<Worker>> workers;
    std::atomic<int> fine = 0;
    ask("recv 1 80000");
    for (int i = 0; i < 4; ++i) {
      workers.push_back(std::make_unique<Worker>([&fine, fd] {
        for (int k = 0; k < 1000; ++k) fine += send(fd, "aaaaaaaaaaaaaaaaaaaa", 20, 0) == 20;
      }));
    }
    for (const auto& one : workers) one->join();
    note("sent %d", fine.load());
    answer_said("recv");
  });
}

// One thread reads what another writes, over the peer's echo, for a while.
void full_duplex() {
  both_ways([](int fd) {
    constexpr size_t kBytes = 1000000;
    ask("send 1 %zu", kBytes);
    ask("recv 1 %zu", kBytes);
    const std::string data = pattern(kBytes);
    ssize_t sent = 0;
    std::string got(kBytes, '\0');
    ssize_t received = 0;
    {
      Worker writer([&] { sent = send(fd, data.data(), data.size(), 0); });
      Worker reader([&] { received = recv(fd, got.data(), got.size(), MSG_WAITALL); });
      writer.join();
      reader.join();
    }
    note("sent %zd received %zd same %d", sent, received, got == data);
    answer_said("send");
    answer_said("recv");
  });
}

// On Linux close(2) in another thread does not end a call on the descriptor (close(2), NOTES).
void close_while_recv_blocks() {
  both_ways([](int fd) {
    char buffer[16] = {};
    ssize_t got = 0;
    Worker worker([&] { got = recv(fd, buffer, sizeof buffer, 0); });
    worker.await_blocked();
    said("close", close(fd));
    note("still blocked: %d", !worker.done());
    peer_said("text 1 hello");
    worker.join();
    said_data("blocked recv", got, buffer);
    peer_said("recv 1 1");
    must("the caller closes it", open("/dev/null", O_RDONLY));
  });
}

void dup2_while_recv_blocks() {
  both_ways([](int fd) {
    char buffer[16] = {};
    ssize_t got = 0;
    Worker worker([&] { got = recv(fd, buffer, sizeof buffer, 0); });
    worker.await_blocked();
    const int null = open("/dev/null", O_RDWR);
    said("dup2", dup2(null, fd) - fd);
    peer_said("text 1 hello");
    worker.join();
    said_data("blocked recv", got, buffer);
    close(null);
  });
}

void close_while_accept_blocks() {
  const int listener = listening();
  const int port = port_of(listener);
  int fd = -1;
  int code = 0;
  Worker worker([&] {
    fd = accept(listener, nullptr, nullptr);
    code = errno;
  });
  worker.await_blocked();
  said("close", close(listener));
  note("still blocked: %d", !worker.done());
  const std::string done = peer("connect 1 %d", port);
  note("peer's connect: %s", done.c_str());
  worker.join();
  note("blocked accept: %s", fd >= 0 ? "ok" : errno_name(code));
  const std::string again = peer("connect 2 %d", port);
  note("peer's connect: %s", again.c_str());
  if (fd >= 0) close(fd);
}

// Seen as SIGSEGV: between two looks at the descriptor the listener had become the kernel's.
void shutdown_while_another_thread_accepts() {
  constexpr int kRounds = 200;
  int last = 0;
  for (int i = 0; i < kRounds; ++i) {
    const int listener = listening(mine(), 8, SOCK_NONBLOCK);
    std::atomic<bool> looking = false;
    Worker worker([&] {
      do {
        errno = 0;
        accept(listener, nullptr, nullptr);
        looking = true;
      } while (errno == EAGAIN);
      last = errno;
    });
    while (!looking) std::this_thread::yield();
    must("shutdown", shutdown(listener, SHUT_RDWR));
    worker.join();
    close(listener);
  }
  note("last accept: %s", errno_name(last));
}

void shutdown_while_send_blocks() {
  both_ways([](int fd) {
    const std::string data = pattern(32 << 20);
    ssize_t sent = 0;
    on_signal(SIGPIPE, count_signal, 0);
    Worker worker([&] { sent = send(fd, data.data(), data.size(), MSG_NOSIGNAL); });
    worker.await_blocked();
    said("shutdown", shutdown(fd, SHUT_RDWR));
    worker.join();
    note("a part: %d", sent > 0 && sent < static_cast<ssize_t>(data.size()));
    said("send", send(fd, "x", 1, MSG_NOSIGNAL));
    signal(SIGPIPE, SIG_DFL);
  });
}

// ---- signals

// Signals the worker while it is blocked, until the handler has run.
void interrupt(Worker& worker) {
  signals_seen = 0;
  worker.await_blocked();
  pthread_kill(worker.handle(), SIGUSR1);
  eventually([] { return signals_seen.load() > 0; });
}

// A recvmmsg that is interrupted when it has one of two.
void receive_two(int fd, const std::function<void()>& send_one) {
  char bytes[2] = {};
  iovec pieces[2] = {{&bytes[0], 1}, {&bytes[1], 1}};
  mmsghdr several[2] = {};
  for (int i = 0; i < 2; ++i) {
    several[i].msg_hdr.msg_iov = &pieces[i];
    several[i].msg_hdr.msg_iovlen = 1;
  }
  int result = 0;
  send_one();
  await(fd, POLLIN);
  Worker worker([&] { result = recvmmsg(fd, several, 2, 0, nullptr); });
  interrupt(worker);
  worker.join();
  note("recvmmsg = %d", result);
  said_poll(fd);
}

// The number of an error that may have no name.
void said_number(const char* call, long result) {
  note("%s = %ld %d", call, result, result < 0 ? errno : 0);
}

// What ends a recvmmsg that has something is for the next call.
void interrupted_in_the_middle() {
  const int fd = udp();
  Name address = mine();
  must("bind", bind(fd, plain(address), size(address)));
  peer("udp 2");
  for (const int flags : {0, SA_RESTART}) {
    on_signal(SIGUSR1, count_signal, flags);
    note("-- flags %x", static_cast<unsigned>(flags));
    const auto datagram = [&] { peer("sendto 2 %d 1", port_of(fd)); };
    receive_two(fd, datagram);
    said_so_error(fd);
    receive_two(fd, datagram);
    char byte;
    datagram();
    said_number("recv", recv(fd, &byte, 1, 0));
    said("recv", recv(fd, &byte, 1, 0));
    set_timeout(fd, SO_RCVTIMEO, kLimitMs);
    receive_two(fd, datagram);
    said("recv", recv(fd, &byte, 1, 0));
    set_timeout(fd, SO_RCVTIMEO, 0);
  }
  close(fd);
  both_ways([](int connection) {
    receive_two(connection, [] { peer_said("text 1 a"); });
    peer_said("text 1 b");
    await(connection, POLLIN);
    char byte;
    said("recv", recv(connection, &byte, 1, 0));
    said_number("recv", recv(connection, &byte, 1, MSG_DONTWAIT));
    said("recv", recv(connection, &byte, 1, MSG_DONTWAIT));
    said("send", send(connection, "x", 1, MSG_NOSIGNAL));
  });
}

void interrupted_without_restart() {
  both_ways([](int fd) {
    on_signal(SIGUSR1, count_signal, 0);
    char byte;
    long result = 0;
    int code = 0;
    const auto interrupted = [&](const char* what, const std::function<long()>& call) {
      Worker worker([&] {
        result = call();
        code = errno;
      });
      interrupt(worker);
      worker.join();
      note("%s = %ld %s", what, result, errno_name(code));
    };
    iovec piece{&byte, 1};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    mmsghdr several{header, 0};
    interrupted("recv", [&] { return recv(fd, &byte, 1, 0); });
    interrupted("read", [&] { return read(fd, &byte, 1); });
    interrupted("recvmsg", [&] { return recvmsg(fd, &header, 0); });
    interrupted("recvmmsg", [&] { return recvmmsg(fd, &several, 1, 0, nullptr); });
    const int listener = listening();
    interrupted("accept", [&] { return accept(listener, nullptr, nullptr); });
    close(listener);
    const int datagram = udp();
    Name address = mine();
    must("bind", bind(datagram, plain(address), size(address)));
    interrupted("recv on UDP", [&] { return recv(datagram, &byte, 1, 0); });
    close(datagram);
  });
}

void restarted() {
  both_ways([](int fd) {
    on_signal(SIGUSR1, count_signal, SA_RESTART);
    char byte = 0;
    long result = 0;
    {
      Worker worker([&] { result = recv(fd, &byte, 1, 0); });
      interrupt(worker);
      worker.await_blocked();
      note("still blocked: %d", !worker.done());
      peer_said("text 1 x");
      worker.join();
    }
    note("recv = %ld %c", result, byte);
    const int listener = listening();
    {
      Worker worker([&] { result = accept(listener, nullptr, nullptr) >= 0; });
      interrupt(worker);
      peer("connect 2 %d", port_of(listener));
      worker.join();
    }
    note("accept worked: %ld", result);
    close(listener);
    note("-- a timeout forbids it (signal(7))");
    set_timeout(fd, SO_RCVTIMEO, 4000);
    int code = 0;
    {
      Worker worker([&] {
        result = recv(fd, &byte, 1, 0);
        code = errno;
      });
      interrupt(worker);
      worker.join();
    }
    note("recv = %ld %s", result, errno_name(code));
  });
}

int handler_fd = -1;

void send_in_handler(int) {
  const int code = errno;
  signals_seen += static_cast<int>(send(handler_fd, "sig", 3, MSG_NOSIGNAL)) == 3;
  errno = code;
}

void handler_calls_send() {
  both_ways([](int fd) {
    handler_fd = fd;
    on_signal(SIGUSR1, send_in_handler, SA_RESTART);
    char buffer[16] = {};
    ssize_t got = 0;
    Worker worker([&] { got = recv(fd, buffer, sizeof buffer, 0); });
    interrupt(worker);
    peer_said("recv 1 3");
    peer_said("text 1 hello");
    worker.join();
    said_data("recv", got, buffer);
  });
}

// Handlers that come at any moment, also while the interrupted code is inside a call of its own.
void handler_at_any_moment() {
  const int other = connected(2);
  handler_fd = other;
  const int fd = connected(1);
  on_signal(SIGALRM, send_in_handler, SA_RESTART);
  alarm_every_ms(1);
  bool fine = true;
  const std::string data = pattern(5000);
  for (int i = 0; i < 300; ++i) {
    ask("recv 1 5000");
    ask("send 1 3000");
    size_t sent = 0;
    while (sent < data.size()) {
      const ssize_t done = send(fd, data.data() + sent, data.size() - sent, 0);
      if (done <= 0) break;
      sent += static_cast<size_t>(done);
    }
    char buffer[3000];
    fine = fine && sent == data.size();
    fine = fine && recv(fd, buffer, sizeof buffer, MSG_WAITALL) > 0;
    size_t rest = static_cast<size_t>(unread(fd));
    while (rest > 0) rest -= static_cast<size_t>(recv(fd, buffer, sizeof buffer, 0));
    answer();
    answer();
  }
  no_alarm();
  note("fine: %d, handlers ran: %d", fine, signals_seen > 0);
  const int bytes = signals_seen * 3;
  const std::string got = peer("recv 2 %d", bytes);
  note("their data: %d", number(got) == bytes);
  close(fd);
  close(other);
}

sigjmp_buf jump;
void jump_out(int) { siglongjmp(jump, 1); }

// Old programs bound a wait by a jump out of the alarm's handler.
void handler_jumps_out_of_recv() {
  both_ways([](int fd) {
    on_signal(SIGALRM, jump_out, 0);
    char buffer[16] = {};
    if (sigsetjmp(jump, 1) == 0) {
      alarm_every_ms(20);
      recv(fd, buffer, sizeof buffer, 0);
      note("not reached");
    }
    no_alarm();
    note("jumped");
    peer_said("text 1 hello");
    said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
    said("send", send(fd, "hello", 5, 0));
    peer_said("recv 1 5");
  });
}

// ---- cancellation

struct Blocked {
  int fd;
  int kind;
};

void* block_for_ever(void* argument) {
  const auto* what = static_cast<Blocked*>(argument);
  char byte;
  pollfd one{what->fd, POLLIN, 0};
  epoll_event event{EPOLLIN, {}};
  const int epoll = what->kind == 2 ? what->fd : -1;
  switch (what->kind) {
    case 0:
      recv(what->fd, &byte, 1, 0);
      break;
    case 1:
      poll(&one, 1, -1);
      break;
    case 2:
      epoll_wait(epoll, &event, 1, -1);
      break;
    default:
      accept(what->fd, nullptr, nullptr);
      break;
  }
  return nullptr;
}

void cancelled(const char* what, int fd, int kind) {
  Blocked blocked{fd, kind};
  pthread_t thread;
  must("pthread_create", -pthread_create(&thread, nullptr, block_for_ever, &blocked));
  // The thread has no name for us but its handle; it is given time to enter its call, and is
  // cancelled as well if it has not.
  usleep(5000);
  pthread_cancel(thread);
  void* result = nullptr;
  pthread_join(thread, &result);
  note("%s: cancelled %d", what, result == PTHREAD_CANCELED);
}

void cancelled_calls() {
  both_ways([](int fd) {
    const int epoll = epoll_create1(0);
    epoll_event event{EPOLLIN, {}};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    const int listener = listening();
    cancelled("recv", fd, 0);
    cancelled("poll", fd, 1);
    cancelled("epoll_wait", epoll, 2);
    cancelled("accept", listener, 3);
    char buffer[16];
    said("send", send(fd, "hello", 5, 0));
    peer_said("recv 1 5");
    peer_said("text 1 hello");
    said("epoll_wait", epoll_wait(epoll, &event, 1, kLimitMs));
    said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
    peer("connect 2 %d", port_of(listener));
    worked("accept", accept(listener, nullptr, nullptr));
    close(listener);
    close(epoll);
  });
}

struct FileTransfer {
  int socket;
  int file;
  size_t bytes;
  std::atomic<pid_t> tid = 0;
  ssize_t sent = 0;
  bool went_on = false;
};

void* send_file(void* argument) {
  auto* what = static_cast<FileTransfer*>(argument);
  what->tid = gettid();
  what->sent = sendfile(what->socket, what->file, nullptr, what->bytes);
  pthread_testcancel();
  what->went_on = true;
  return nullptr;
}

// sendfile(2) is no cancellation point: what comes next is.
void cancelled_behind_sendfile() {
  both_ways([](int fd) {
    FileTransfer transfer{fd, must("memfd", memfd_create("data", MFD_CLOEXEC)), 24U << 20U};
    must("ftruncate", ftruncate(transfer.file, static_cast<off_t>(transfer.bytes)));
    pthread_t thread;
    must("pthread_create", -pthread_create(&thread, nullptr, send_file, &transfer));
    const bool blocks =
        eventually([&] { return transfer.tid != 0 && Worker::sleeps(transfer.tid); });
    note("blocks: %d", blocks);
    pthread_cancel(thread);
    peer_said("recv 1 %zu", transfer.bytes);
    void* result = nullptr;
    pthread_join(thread, &result);
    note("cancelled %d, sent %zd, went on: %d", result == PTHREAD_CANCELED, transfer.sent,
         transfer.went_on);
    close(transfer.file);
  });
}

// A connection lives on when the thread that made it has ended.
void thread_leaves_its_socket() {
  int fd = -1;
  {
    Worker worker([&] { fd = connected(); });
    worker.join();
  }
  said("send", send(fd, "hello", 5, 0));
  peer_said("recv 1 5");
  close(fd);
}

// Nobody calls for a while: the connection is served nevertheless.
void served_while_nobody_calls() {
  both_ways([](int fd) {
    const std::string data = pattern(200000);
    set_nonblocking(fd, true);
    size_t sent = 0;
    while (sent < data.size()) {
      const ssize_t done = send(fd, data.data() + sent, data.size() - sent, 0);
      if (done > 0) sent += static_cast<size_t>(done);
      if (done < 0) usleep(500);
    }
    // The peer reads it all before we make another call on a socket.
    peer_said("recv 1 200000");
  });
}

// unshare(2): what was opened stays, what is opened now has no way to the peer.
void thread_in_another_network() {
  const int fd = connected();
  const int port = number(peer("listen 0"));
  {
    Worker worker([port] {
      said("unshare", unshare(CLONE_NEWNET));
      const int other = tcp();
      Name address = theirs(port);
      said("connect", connect(other, plain(address), size(address)));
      close(other);
    });
    worker.join();
  }
  said("send", send(fd, "hello", 5, 0));
  peer_said("recv 1 5");
  close(fd);
  peer("close 0");
}

constexpr Scenario kScenarios[] = {
    {"thread_in_another_network", Proof::kTcp, thread_in_another_network},
    {"send_while_recv_blocks", Proof::kTcp, send_while_recv_blocks},
    {"two_readers_of_one_socket", Proof::kTcp, two_readers_of_one_socket},
    {"many_readers_and_no_descriptors", Proof::kTcp, many_readers_and_no_descriptors},
    {"many_threads_on_one_listener", Proof::kTcp, many_threads_on_one_listener},
    {"many_threads_connect", Proof::kTcp, many_threads_connect},
    {"many_writers", Proof::kTcp, many_writers},
    {"full_duplex", Proof::kTcp, full_duplex},
    {"close_while_recv_blocks", Proof::kTcp, close_while_recv_blocks},
    {"dup2_while_recv_blocks", Proof::kTcp, dup2_while_recv_blocks},
    {"close_while_accept_blocks", Proof::kTcpHybrid, close_while_accept_blocks},
    {"shutdown_while_another_thread_accepts", Proof::kNone, shutdown_while_another_thread_accepts},
    {"shutdown_while_send_blocks", Proof::kTcpHybrid, shutdown_while_send_blocks},
    {"interrupted_in_the_middle", Proof::kTcp, interrupted_in_the_middle},
    {"interrupted_without_restart", Proof::kTcp, interrupted_without_restart},
    {"restarted", Proof::kTcp, restarted},
    {"handler_calls_send", Proof::kTcp, handler_calls_send},
    {"handler_at_any_moment", Proof::kTcp, handler_at_any_moment},
    {"handler_jumps_out_of_recv", Proof::kTcp, handler_jumps_out_of_recv},
    {"cancelled_calls", Proof::kTcp, cancelled_calls},
    {"cancelled_behind_sendfile", Proof::kTcp, cancelled_behind_sendfile},
    {"thread_leaves_its_socket", Proof::kTcp, thread_leaves_its_socket},
    {"served_while_nobody_calls", Proof::kTcp, served_while_nobody_calls},
};

}  // namespace

int main(int argc, char** argv) { return scenario::main(argc, argv, kScenarios); }
