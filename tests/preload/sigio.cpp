// sigio.cpp - signals for what happens to a socket: O_ASYNC, FIOASYNC, F_SETOWN, F_SETSIG
#include <algorithm>

#include "scenario.h"

using namespace scenario;

namespace {

std::atomic<int> last_code = 0;
std::atomic<long> last_band = 0;
std::atomic<int> last_fd = -1;

void keep_info(int, siginfo_t* info, void*) {
  last_code = info->si_code;
  last_band = info->si_band;
  last_fd = info->si_fd;
  signals_seen.fetch_add(1);
}

void on_info(int number) {
  struct sigaction action {};
  action.sa_sigaction = keep_info;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  must("sigaction", sigaction(number, &action, nullptr));
  signals_seen = 0;
}

void set_async(int fd, bool on) {
  const int flags = must("F_GETFL", fcntl(fd, F_GETFL));
  must("F_SETFL", fcntl(fd, F_SETFL, on ? flags | O_ASYNC : flags & ~O_ASYNC));
}

// At least one; how many there are differs between runs.
void said_signal(const char* what) {
  const bool came = eventually([] { return signals_seen != 0; });
  note("%s: %s", what, came ? "signal" : "none");
  usleep(20000);
  signals_seen = 0;
}

void said_no_signal(const char* what) {
  usleep(30000);
  note("%s: %s", what, signals_seen != 0 ? "signal" : "none");
  signals_seen = 0;
}

const char* code_name(int code) {
  switch (code) {
    case POLL_IN:
      return "IN";
    case POLL_OUT:
      return "OUT";
    case POLL_ERR:
      return "ERR";
    case POLL_HUP:
      return "HUP";
    default:
      return "another";
  }
}

void owners_and_signals() {
  both_ways([](int fd) {
    said("F_GETOWN", fcntl(fd, F_GETOWN));
    said("F_SETOWN", fcntl(fd, F_SETOWN, getpid()));
    note("F_GETOWN is mine: %d", fcntl(fd, F_GETOWN) == getpid());
    said("F_SETOWN group", fcntl(fd, F_SETOWN, -getpgrp()));
    note("F_GETOWN is the group: %d", fcntl(fd, F_GETOWN) == -getpgrp());
    f_owner_ex owner{F_OWNER_TID, gettid()};
    said("F_SETOWN_EX", fcntl(fd, F_SETOWN_EX, &owner));
    owner = {};
    said("F_GETOWN_EX", fcntl(fd, F_GETOWN_EX, &owner));
    note("type %d mine %d", owner.type, owner.pid == gettid());
    said("F_GETSIG", fcntl(fd, F_GETSIG));
    said("F_SETSIG", fcntl(fd, F_SETSIG, SIGUSR1));
    note("F_GETSIG %d", fcntl(fd, F_GETSIG) == SIGUSR1);
    said("F_SETSIG nonsense", fcntl(fd, F_SETSIG, 1000));
    set_async(fd, true);
    note("O_ASYNC %d", (fcntl(fd, F_GETFL) & O_ASYNC) != 0);
    int on = 0;
    said("FIOASYNC", ioctl(fd, FIOASYNC, &on));
    note("O_ASYNC %d", (fcntl(fd, F_GETFL) & O_ASYNC) != 0);
  });
}

void data_arrives() {
  both_ways([](int fd) {
    on_signal(SIGIO, count_signal, SA_RESTART);
    fcntl(fd, F_SETOWN, getpid());
    peer("text 1 a");
    said_no_signal("without O_ASYNC");
    set_async(fd, true);
    peer("text 1 b");
    said_signal("data");
    fcntl(fd, F_SETOWN, 0);
    peer("text 1 c");
    said_no_signal("nobody owns it");
    fcntl(fd, F_SETOWN, getpid());
    set_async(fd, false);
    peer("text 1 d");
    said_no_signal("switched off");
    int on = 1;
    ioctl(fd, FIOASYNC, &on);
    peer("text 1 e");
    said_signal("FIOASYNC");
    said("send", send(fd, "hello", 5, 0));
    peer_said("recv 1 5");
    said_no_signal("sending");
    shutdown(fd, SHUT_WR);
    said_no_signal("own shutdown");
    peer("shut 1 1");
    said_signal("the end");
    signal(SIGIO, SIG_DFL);
  });
}

void siginfo_of_it() {
  both_ways([](int fd) {
    const int number = SIGRTMIN + 3;
    on_info(number);
    fcntl(fd, F_SETOWN, getpid());
    fcntl(fd, F_SETSIG, number);
    set_async(fd, true);
    const auto said_info = [&] {
      note("code %s band %s own %d", code_name(last_code),
           event_names(static_cast<uint32_t>(last_band)).c_str(), last_fd == fd);
    };
    peer("text 1 a");
    said_signal("data");
    said_info();
    peer("oob 1 !");
    said_signal("urgent data");
    said_info();
    peer("shut 1 1");
    said_signal("the end");
    said_info();
    char byte = 'x';
    said("send", send(fd, &byte, 1, 0));
    peer("reset 1");
    said_signal("reset");
    said_info();
    signal(number, SIG_DFL);
  });
}

void waited_for() {
  both_ways([](int fd) {
    const int number = SIGRTMIN + 4;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    fcntl(fd, F_SETOWN, getpid());
    fcntl(fd, F_SETSIG, number);
    set_async(fd, true);
    peer("text 1 a");
    siginfo_t info{};
    note("sigwaitinfo %d", sigwaitinfo(&set, &info) == number);
    note("code %s own %d", code_name(info.si_code), info.si_fd == fd);
    timespec limit{kLimitMs / 1000, 0};
    peer("text 1 b");
    note("sigtimedwait %d", sigtimedwait(&set, &info, &limit) == number);
    note("code %s own %d", code_name(info.si_code), info.si_fd == fd);
    set_async(fd, false);
    limit = {};
    while (sigtimedwait(&set, &info, &limit) > 0) {
    }
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  });
}

void connecting_and_accepting() {
  on_info(SIGIO);
  const int fd = tcp(SOCK_NONBLOCK);
  fcntl(fd, F_SETOWN, getpid());
  fcntl(fd, F_SETSIG, SIGIO);
  set_async(fd, true);
  Name address = theirs(number(peer("listen 0")));
  connect(fd, plain(address), size(address));
  said_signal("connected");
  note("code %s", code_name(last_code));
  peer("accept 0 1");
  peer("close 0");
  close(fd);
  const int refused = tcp(SOCK_NONBLOCK);
  fcntl(refused, F_SETOWN, getpid());
  fcntl(refused, F_SETSIG, SIGIO);
  set_async(refused, true);
  address = theirs(number(peer("closed_port 0")));
  connect(refused, plain(address), size(address));
  said_signal("refused");
  note("code %s", code_name(last_code));
  close(refused);
  const int listener = listening();
  fcntl(listener, F_SETOWN, getpid());
  fcntl(listener, F_SETSIG, SIGIO);
  set_async(listener, true);
  ask("connect 2 %d", port_of(listener));
  said_signal("a connection");
  note("code %s", code_name(last_code));
  const int accepted_fd = must("accept", accept(listener, nullptr, nullptr));
  answer();
  note("O_ASYNC of the accepted: %d", (fcntl(accepted_fd, F_GETFL) & O_ASYNC) != 0);
  note("owner of the accepted: %d", fcntl(accepted_fd, F_GETOWN));
  peer("text 2 a");
  said_no_signal("its data");
  close(accepted_fd);
  close(listener);
  signal(SIGIO, SIG_DFL);
}

// Whoever waits for the data anyway is not told by a signal.
void reader_that_waits() {
  both_ways([](int fd) {
    on_signal(SIGIO, count_signal, SA_RESTART);
    fcntl(fd, F_SETOWN, getpid());
    set_async(fd, true);
    char buffer[8] = {};
    long result = 0;
    {
      Worker worker([&] { result = recv(fd, buffer, sizeof buffer, 0); });
      worker.await_blocked();
      peer("text 1 abc");
      worker.join();
    }
    said_data("recv", result, buffer);
    said_no_signal("data");
    set_async(fd, false);
    signal(SIGIO, SIG_DFL);
  });
}

void of_datagrams() {
  const int fd = udp();
  Name own = mine();
  must("bind", bind(fd, plain(own), size(own)));
  on_signal(SIGIO, count_signal, SA_RESTART);
  fcntl(fd, F_SETOWN, getpid());
  set_async(fd, true);
  peer("udp 1");
  peer("sendto 1 %d 5", port_of(fd));
  said_signal("datagram");
  char buffer[8];
  said("recv", recv(fd, buffer, sizeof buffer, 0));
  close(fd);
  signal(SIGIO, SIG_DFL);
}

constexpr Scenario kScenarios[] = {
    {"sigio_owners", Proof::kTcp, owners_and_signals},
    {"sigio_data", Proof::kTcp, data_arrives},
    {"sigio_siginfo", Proof::kTcp, siginfo_of_it},
    {"sigio_waited_for", Proof::kTcp, waited_for},
    {"sigio_connections", Proof::kTcp, connecting_and_accepting},
    {"sigio_reader_waits", Proof::kTcp, reader_that_waits},
    {"sigio_datagrams", Proof::kUdp, of_datagrams},
};

}  // namespace

int main(int argc, char** argv) { return scenario::main(argc, argv, kScenarios); }
