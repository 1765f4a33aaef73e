// signals.cpp - handlers at every moment of a call: what they may do, and what the call does then
//
// Run with a spin limit of a second, so that a call that waits is met spinning, not asleep.
#include <sys/sendfile.h>
#include <sys/wait.h>

#include <csetjmp>

#include "scenario.h"

using namespace scenario;

namespace {

struct Action {
  int flags = 0;
  void (*plain)(int) = nullptr;
  void (*with_info)(int, siginfo_t*, void*) = nullptr;
  std::initializer_list<int> blocked = {};
};

void set_action(int number, const Action& wanted) {
  struct sigaction action {};
  action.sa_flags = wanted.flags;
  if (wanted.with_info != nullptr) {
    action.sa_sigaction = wanted.with_info;
    action.sa_flags |= SA_SIGINFO;
  } else {
    action.sa_handler = wanted.plain;
  }
  for (const int one : wanted.blocked) sigaddset(&action.sa_mask, one);
  must("sigaction", sigaction(number, &action, nullptr));
  signals_seen = 0;
}

// One SIGALRM, when the call that follows has long begun.
void one_alarm() {
  constexpr int kSoonUs = 40000;
  const itimerval timer{{0, 0}, {0, kSoonUs}};
  must("setitimer", setitimer(ITIMER_REAL, &timer, nullptr));
}

std::string mask_names() {
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  std::string names;
  for (int number = 1; number < NSIG; ++number) {
    if (sigismember(&mask, number) == 1) names += " " + std::to_string(number);
  }
  return names.empty() ? " none" : names;
}

// ---- the end of a call

// Every call that waits, ended by exactly one signal.
template <typename Before>
void every_wait(int fd, Before before) {
  char byte;
  before();
  said("recv", recv(fd, &byte, 1, 0));
  before();
  pollfd one{fd, POLLIN, 0};
  said("poll", poll(&one, 1, -1));
  before();
  fd_set set;
  FD_ZERO(&set);
  FD_SET(fd, &set);
  said("select", select(fd + 1, &set, nullptr, nullptr, nullptr));
  const int epoll = epoll_create1(0);
  epoll_event event{EPOLLIN, {}};
  before();
  said("epoll_wait of nothing", epoll_wait(epoll, &event, 1, -1));
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  before();
  said("epoll_wait", epoll_wait(epoll, &event, 1, -1));
  close(epoll);
  const int listener = listening();
  before();
  said("accept", accept(listener, nullptr, nullptr));
  close(listener);
  const int datagram = udp();
  Name address = mine();
  must("bind", bind(datagram, plain(address), size(address)));
  before();
  said("recv on UDP", recv(datagram, &byte, 1, 0));
  close(datagram);
}

void one_signal_ends_a_spinning_call() {
  both_ways([](int fd) {
    on_signal(SIGALRM, count_signal, 0);
    every_wait(fd, one_alarm);
    note("signals %d, blocked%s", signals_seen.load(), mask_names().c_str());
  });
}

void one_signal_lets_a_spinning_call_go_on() {
  both_ways([](int fd) {
    on_signal(SIGALRM, count_signal, SA_RESTART);
    char byte = 0;
    one_alarm();
    pollfd one{fd, POLLIN, 0};
    said("poll is never restarted", poll(&one, 1, -1));
    ssize_t got = 0;
    Worker worker([&] { got = recv(fd, &byte, 1, 0); });
    usleep(5000);
    pthread_kill(worker.handle(), SIGALRM);
    eventually([] { return signals_seen.load() == 2; });
    note("still there: %d", !worker.done());
    peer("text 1 x");
    worker.join();
    said_data("recv", got, &byte);
    note("-- mixed: the one that came decides");
    on_signal(SIGUSR2, count_signal, 0);
    on_signal(SIGUSR1, count_signal, SA_RESTART);
    long result = 0;
    int code = 0;
    Worker second([&] {
      result = recv(fd, &byte, 1, 0);
      code = errno;
    });
    usleep(5000);
    pthread_kill(second.handle(), SIGUSR1);
    eventually([] { return signals_seen.load() == 1; });
    note("after SIGUSR1: ended %d", second.done());
    eventually([&second] {
      pthread_kill(second.handle(), SIGUSR2);
      return second.done();
    });
    second.join();
    note("after SIGUSR2: %ld %s", result, errno_name(code));
  });
}

// ---- calls in handlers

struct {
  int quiet;
  int noisy;
  std::atomic<int> sent_bytes;
} handlers;

void call_everything(int) {
  const int code = errno;
  char buffer[8];
  pollfd one{handlers.quiet, POLLIN | POLLOUT, 0};
  if (recv(handlers.quiet, buffer, sizeof buffer, MSG_DONTWAIT) != -1 || errno != EAGAIN) abort();
  if (poll(&one, 1, 0) != 1 || one.revents != POLLOUT) abort();
  const int copy = dup(handlers.quiet);
  if (copy < 0 || close(copy) != 0) abort();
  if (send(handlers.noisy, "sig", 3, MSG_NOSIGNAL | MSG_DONTWAIT) == 3) handlers.sent_bytes += 3;
  ++signals_seen;
  errno = code;
}

// The interrupted thread is in a call of its own nearly all the time.
void handlers_make_calls() {
  both_ways([](int fd) {
    handlers.quiet = connected(2);
    handlers.noisy = connected(3);
    handlers.sent_bytes = 0;
    on_signal(SIGUSR1, call_everything, SA_RESTART);
    std::atomic<bool> stop = false;
    const pthread_t self = pthread_self();
    constexpr int kCalls = 20000;
    Worker sender([&stop, self] {
      while (!stop) {
        pthread_kill(self, SIGUSR1);
        usleep(50);
      }
    });
    eventually([] { return signals_seen > 0; });
    ask("recv 1 %d", kCalls);
    int sent = 0;
    char byte;
    for (int i = 0; i < kCalls; ++i) {
      sent += send(fd, "x", 1, 0) == 1;
      if (recv(fd, &byte, 1, MSG_DONTWAIT) != -1 || errno != EAGAIN) break;
    }
    stop = true;
    sender.join();
    note("sent %d, handlers ran %d, blocked%s", sent, signals_seen > 0, mask_names().c_str());
    answer_said("recv");
    const std::string got = peer("recv 3 %d", handlers.sent_bytes.load());
    note("the handlers' data: %d", number(got) == handlers.sent_bytes);
    close(handlers.quiet);
    close(handlers.noisy);
  });
}

// ---- what a handler is told

std::atomic<long> value_sum = 0;
std::atomic<int> wrong_infos = 0;

void add_value(int number, siginfo_t* info, void* context) {
  if (info->si_signo != number || info->si_code != SI_QUEUE || info->si_pid != getpid() ||
      context == nullptr) {
    ++wrong_infos;
  }
  value_sum += info->si_value.sival_int;
  ++signals_seen;
}

void queued_signals_keep_their_values() {
  both_ways([](int fd) {
    constexpr int kSignals = 500;
    value_sum = 0;
    wrong_infos = 0;
    set_action(SIGRTMIN + 1, {.flags = SA_RESTART, .with_info = add_value});
    const pthread_t self = pthread_self();
    Worker sender([self] {
      for (int i = 1; i <= kSignals; ++i) {
        sigval value{};
        value.sival_int = i;
        while (pthread_sigqueue(self, SIGRTMIN + 1, value) != 0) usleep(100);
        usleep(20);
      }
    });
    char byte;
    while (signals_seen < kSignals) {
      if (recv(fd, &byte, 1, MSG_DONTWAIT) != -1 || errno != EAGAIN) break;
    }
    sender.join();
    note("signals %d, sum %ld, wrong %d, blocked%s", signals_seen.load(), value_sum.load(),
         wrong_infos.load(), mask_names().c_str());
  });
}

char alternate_stack[65536];
std::string seen_in_handler;
bool on_alternate = false;

void look_around(int, siginfo_t* info, void*) {
  char here;
  on_alternate = &here >= alternate_stack && &here < alternate_stack + sizeof alternate_stack;
  seen_in_handler = mask_names() + " code " + std::to_string(info->si_code);
  ++signals_seen;
}

void handlers_see_what_they_asked_for() {
  const stack_t stack{alternate_stack, 0, sizeof alternate_stack};
  must("sigaltstack", sigaltstack(&stack, nullptr));
  both_ways([](int fd) {
    char byte;
    const auto interrupted = [&](const char* what, const Action& action) {
      set_action(SIGALRM, action);
      one_alarm();
      const long got = recv(fd, &byte, 1, 0);
      note("%s: %ld, blocked in it%s, own stack %d, blocked after it%s", what, got,
           seen_in_handler.c_str(), on_alternate, mask_names().c_str());
    };
    interrupted("plain", {.with_info = look_around});
    interrupted("mask", {.with_info = look_around, .blocked = {SIGUSR1, SIGUSR2}});
    interrupted("SA_NODEFER", {.flags = SA_NODEFER, .with_info = look_around});
    interrupted("SA_ONSTACK", {.flags = SA_ONSTACK, .with_info = look_around});
    interrupted("SA_RESETHAND",
                {.flags = static_cast<int>(SA_RESETHAND), .with_info = look_around});
    struct sigaction now {};
    sigaction(SIGALRM, nullptr, &now);
    note("then default: %d", now.sa_handler == SIG_DFL);
    note("-- the masks of the waits");
    set_action(SIGALRM, {.with_info = look_around});
    sigset_t blocked;
    sigset_t before;
    sigset_t open;
    sigemptyset(&open);
    sigaddset(&open, SIGUSR2);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    pollfd one{fd, POLLIN, 0};
    const timespec limit{5, 0};
    one_alarm();
    said("ppoll", ppoll(&one, 1, &limit, &open));
    note("blocked in it%s, after it%s", seen_in_handler.c_str(), mask_names().c_str());
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  });
  const stack_t none{nullptr, SS_DISABLE, 0};
  must("sigaltstack", sigaltstack(&none, nullptr));
}

// ---- actions

void said_action(const char* what, int number) {
  struct sigaction now {};
  const int result = sigaction(number, nullptr, &now);
  std::string mask;
  for (int one = 1; one < NSIG; ++one) {
    if (sigismember(&now.sa_mask, one) == 1) mask += " " + std::to_string(one);
  }
  const char* handler = "another";
  if (now.sa_handler == SIG_DFL) handler = "default";
  if (now.sa_handler == SIG_IGN) handler = "ignore";
  if (now.sa_handler == count_signal) handler = "count_signal";
  if (now.sa_sigaction == look_around) handler = "look_around";
  note("%s = %d: %s flags %#x mask%s", what, result, handler, static_cast<unsigned>(now.sa_flags),
       mask.c_str());
}

const char* name_of(sighandler_t handler) {
  if (handler == SIG_DFL) return "default";
  if (handler == SIG_IGN) return "ignore";
  if (handler == SIG_ERR) return "error";
  if (handler == SIG_HOLD) return "hold";
  return handler == count_signal ? "count_signal" : "another";
}

// The old names are still called by old programs.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

void actions_are_read_back() {
  signal(SIGUSR1, SIG_DFL);
  said_action("at first", SIGUSR1);
  constexpr int kOnce = static_cast<int>(SA_RESETHAND);
  for (const int flags : {0, SA_RESTART, SA_NODEFER | kOnce, SA_ONSTACK}) {
    set_action(SIGUSR1, {.flags = flags, .plain = count_signal, .blocked = {SIGTERM}});
    said_action("plain", SIGUSR1);
    set_action(SIGUSR1, {.flags = flags, .with_info = look_around});
    said_action("with info", SIGUSR1);
  }
  note("signal: %s", name_of(signal(SIGUSR1, count_signal)));
  said_action("signal", SIGUSR1);
  note("signal: %s", name_of(signal(SIGUSR1, SIG_IGN)));
  said_action("ignored", SIGUSR1);
  note("signal: %s", name_of(signal(SIGUSR1, count_signal)));
  said("siginterrupt", siginterrupt(SIGUSR1, 1));
  said_action("siginterrupt", SIGUSR1);
  note("signal: %s", name_of(signal(SIGUSR1, count_signal)));
  said_action("signal", SIGUSR1);
  said("siginterrupt", siginterrupt(SIGUSR1, 0));
  said_action("siginterrupt", SIGUSR1);
  note("ssignal: %s", name_of(ssignal(SIGUSR1, count_signal)));
  note("sysv_signal: %s", name_of(sysv_signal(SIGUSR1, count_signal)));
  said_action("sysv_signal", SIGUSR1);
  raise(SIGUSR1);
  said_action("after its one call", SIGUSR1);
  note("sigset: %s", name_of(sigset(SIGUSR1, count_signal)));
  said_action("sigset", SIGUSR1);
  note("sigset hold: %s, blocked%s", name_of(sigset(SIGUSR1, SIG_HOLD)), mask_names().c_str());
  note("sigset: %s, blocked%s", name_of(sigset(SIGUSR1, SIG_DFL)), mask_names().c_str());
  note("-- errors");
  note("signal: %s", name_of(signal(0, count_signal)));
  note("signal: %s", name_of(signal(NSIG, count_signal)));
  note("signal: %s", name_of(signal(SIGKILL, count_signal)));
  note("signal: %s", name_of(signal(SIGUSR1, SIG_ERR)));
  struct sigaction action {};
  action.sa_handler = count_signal;
  said("sigaction of SIGSTOP", sigaction(SIGSTOP, &action, nullptr));
  said("sigaction of 32", sigaction(32, &action, nullptr));
  said("sigaction of -1", sigaction(-1, &action, nullptr));
  said("siginterrupt of 0", siginterrupt(0, 1));
  said_action("SIGSEGV", SIGSEGV);
}

#pragma GCC diagnostic pop

// ---- jumps

sigjmp_buf place;
void jump_to_place(int) { siglongjmp(place, 7); }

void jump_within(int) {
  sigjmp_buf near;
  if (sigsetjmp(near, 1) == 0) siglongjmp(near, 1);
  ++signals_seen;
}

void jumps_out_of_calls() {
  both_ways([](int fd) {
    set_action(SIGALRM, {.plain = jump_to_place});
    // A volatile, for it is changed between sigsetjmp and siglongjmp.
    volatile int jumps = 0;
    const auto jumped = [&](auto call) {
      const int value = sigsetjmp(place, 1);
      if (value == 0) {
        one_alarm();
        call();
        note("not reached");
      } else {
        jumps = jumps + (value == 7);
      }
    };
    char byte;
    const int epoll = epoll_create1(0);
    epoll_event event{EPOLLIN, {}};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    const int empty = epoll_create1(0);
    const int listener = listening();
    const int datagram = udp();
    Name address = mine();
    must("bind", bind(datagram, plain(address), size(address)));
    pollfd set[] = {{fd, POLLIN, 0}, {datagram, POLLIN, 0}, {listener, POLLIN, 0}};
    for (int i = 0; i < 3; ++i) {
      jumped([&] { recv(fd, &byte, 1, 0); });
      jumped([&] { read(fd, &byte, 1); });
      jumped([&] { poll(set, 3, -1); });
      jumped([&] { epoll_wait(epoll, &event, 1, -1); });
      jumped([&] { epoll_wait(empty, &event, 1, -1); });
      jumped([&] { accept(listener, nullptr, nullptr); });
      jumped([&] { recv(datagram, &byte, 1, 0); });
    }
    note("jumps %d, blocked%s", jumps, mask_names().c_str());
    note("-- a jump inside of the handler");
    set_action(SIGALRM, {.plain = jump_within});
    one_alarm();
    said("recv", recv(fd, &byte, 1, 0));
    note("-- all goes on");
    said("add", epoll_ctl(empty, EPOLL_CTL_ADD, datagram, &event));
    char buffer[8];
    peer_said("text 1 hello");
    said("poll", poll(set, 3, kLimitMs));
    said("epoll_wait", epoll_wait(epoll, &event, 1, kLimitMs));
    said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
    peer("connect 2 %d", port_of(listener));
    const int second = accept(listener, nullptr, nullptr);
    worked("accept", second);
    for (const int one : {second, listener, datagram, epoll, empty}) close(one);
    // Nothing holds the file any more: its close is the end of the connection.
    said("shutdown", shutdown(fd, SHUT_WR));
    peer_said("recv 1 1");
  });
}

// Also out of sendfile, which libc declares as never throwing.
void jumps_out_of_full_sends() {
  both_ways([](int fd) {
    set_action(SIGALRM, {.plain = jump_to_place});
    const int file = must("open", open("/proc/self/exe", O_RDONLY));
    const std::string data = pattern(1 << 20);
    volatile int jumps = 0;
    const auto jumped = [&](auto call) {
      if (sigsetjmp(place, 1) == 0) {
        one_alarm();
        for (;;) call();  // until both buffers are full
      } else {
        jumps = jumps + 1;
      }
    };
    jumped([&] { send(fd, data.data(), data.size(), 0); });
    jumped([&] {
      off_t start = 0;
      sendfile(fd, file, &start, 1 << 20);
    });
    jumped([&] { send(fd, data.data(), data.size(), 0); });
    note("jumps %d, blocked%s", jumps, mask_names().c_str());
    int before = -1;
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &before);
    note("may be cancelled: %d", before == PTHREAD_CANCEL_ENABLE);
    said("shutdown", shutdown(fd, SHUT_WR));
    close(file);
  });
}

// ---- processes

void handlers_and_fork() {
  both_ways([](int fd) {
    on_signal(SIGUSR1, count_signal, SA_RESTART);
    const int child = must("fork", fork());
    if (child == 0) {
      raise(SIGUSR1);
      struct sigaction now {};
      sigaction(SIGUSR1, nullptr, &now);
      _exit(signals_seen == 1 && now.sa_handler == count_signal ? 0 : 1);
    }
    int status = 0;
    must("waitpid", waitpid(child, &status, 0));
    note("child: %#x", static_cast<unsigned>(status));
    const int second = must("fork", fork());
    if (second == 0) {
      // A handler becomes the default action over exec: the signal ends the shell.
      execl("/bin/sh", "sh", "-c", "kill -USR1 $$; exit 3", nullptr);
      _exit(2);
    }
    must("waitpid", waitpid(second, &status, 0));
    note("shell: %#x", static_cast<unsigned>(status));
    raise(SIGUSR1);
    note("ours: %d", signals_seen.load());
    said("send", send(fd, "hello", 5, 0));
    peer_said("recv 1 5");
  });
}

// Forks of a thread that is being signalled, while it uses the socket.
void signals_while_forking() {
  both_ways([](int fd) {
    on_signal(SIGUSR1, count_signal, SA_RESTART);
    std::atomic<bool> stop = false;
    const pthread_t self = pthread_self();
    Worker sender([&stop, self] {
      while (!stop) {
        pthread_kill(self, SIGUSR1);
        usleep(100);
      }
    });
    eventually([] { return signals_seen > 0; });
    int fine = 0;
    for (int i = 0; i < 30; ++i) {
      const int child = must("fork", fork());
      if (child == 0) _exit(mask_names() == " none" ? 0 : 1);
      int status = 1;
      while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
      fine += status == 0 && send(fd, "x", 1, 0) == 1;
    }
    stop = true;
    sender.join();
    note("fine %d, signals %d, blocked%s", fine, signals_seen > 0, mask_names().c_str());
    peer_said("recv 1 30");
  });
}

constexpr Scenario kScenarios[] = {
    {"one_signal_ends_a_spinning_call", Proof::kTcpHybrid, one_signal_ends_a_spinning_call},
    {"one_signal_lets_a_spinning_call_go_on", Proof::kTcp, one_signal_lets_a_spinning_call_go_on},
    {"handlers_make_calls", Proof::kTcp, handlers_make_calls},
    {"queued_signals_keep_their_values", Proof::kTcp, queued_signals_keep_their_values},
    {"handlers_see_what_they_asked_for", Proof::kTcp, handlers_see_what_they_asked_for},
    {"actions_are_read_back", Proof::kNone, actions_are_read_back},
    {"jumps_out_of_calls", Proof::kTcpHybrid, jumps_out_of_calls},
    {"jumps_out_of_full_sends", Proof::kTcp, jumps_out_of_full_sends},
    {"handlers_and_fork", Proof::kTcp, handlers_and_fork},
    {"signals_while_forking", Proof::kTcp, signals_while_forking},
};

}  // namespace

int main(int argc, char** argv) { return scenario::main(argc, argv, kScenarios); }
