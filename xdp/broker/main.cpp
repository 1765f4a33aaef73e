// main.cpp - underpassd: options, the order in which things are made, the ready line
#include <pwd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "base/limits.h"
#include "base/log.h"
#include "xdp/broker/clients.h"
#include "xdp/broker/host_watch.h"
#include "xdp/broker/icmp_watch.h"
#include "xdp/broker/memory.h"
#include "xdp/broker/mover.h"
#include "xdp/broker/nic.h"
#include "xdp/broker/refusal.h"
#include "xdp/broker/server.h"
#include "xdp/broker/steering.h"
#include "xdp/broker/xsks.h"
#include "xdp/umem.h"

namespace underpass {

namespace {

struct Request {
  std::string iface;
  int ready_fd = -1;
  bool stay = false;
  bool generic = false;
  std::vector<std::string> allowed;
};

uid_t uid_of(const std::string& user) {
  uid_t uid = 0;
  const auto parsed = std::from_chars(user.data(), user.data() + user.size(), uid);
  if (parsed.ec == std::errc{} && parsed.ptr == user.data() + user.size()) return uid;
  const passwd* const found = ::getpwnam(user.c_str());
  if (found == nullptr) throw Refusal(fmt::format("--allow {}: there is no such user", user));
  return found->pw_uid;
}

// Every program and each of its children has a connection.
void raise_fd_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

void say_ready(int fd, const std::string& line) {
  if (fd < 0) return;
  const std::string text = line + "\n";
  if (sys::write(fd, text.data(), text.size()) < 0) {
    log_write(LogLevel::warning, "nobody listens on --ready-fd");
  }
  sys::close(fd);
}

Fd take_name(const std::string& iface) {
  auto listener = listen_for_clients(iface);
  if (listener) return std::move(*listener);
  if (listener.error() == EADDRINUSE) {
    throw Refusal(fmt::format("a broker of {} runs already", iface));
  }
  throw Refusal("making the broker's socket", listener.error());
}

// The order is that of need: the name keeps a second broker out, the program decides on the mode,
// the rings are bound in it, and what is steered has to be there before anything is.
void serve(Request& request) {
  ServerOptions options{request.stay, {}};
  for (const std::string& user : request.allowed) options.allowed_uids.push_back(uid_of(user));
  const Nic nic = examine_nic(request.iface);
  Fd listener = take_name(nic.name);
  Steering steering(nic, kMaxSlots, request.generic);
  const SharedMemory control_memory("underpass-control", sizeof(Control));
  const size_t bytes = umem_bytes(nic.rx_queues, kMaxSlots);
  const SharedMemory umem("underpass-umem", bytes);
  Control& control = init_control(control_memory, nic, kMaxSlots);
  QueueXsks queues(nic, umem.get(), bytes, steering.driver_mode());
  steering.take_off_old_program();
  control.driver_mode = steering.driver_mode();
  control.dispatcher = steering.dispatcher();
  control.zero_copy = queues.zero_copy();
  // In generic mode the program sees what the stack would: frames of the same host, unfinished.
  control.rx_partial_checksum = nic.driver == "veth" || !steering.driver_mode();
  Clients clients(nic, control, steering, queues);
  clients.fill_rings();
  HostWatch watch(nic, control, steering);
  IcmpWatch icmp(nic);
  Mover mover(nic, steering);
  Server server({control, control_memory, umem, steering, clients, watch, icmp, mover},
                std::move(listener), std::move(options));
  log_write(LogLevel::info, "serving %s: %s mode, %s, %u queue(s)", nic.name.c_str(),
            steering.driver_mode() ? "driver" : "generic",
            queues.zero_copy() ? "zero copy" : "copy", nic.rx_queues);
  say_ready(std::exchange(request.ready_fd, -1), "ok");
  server.run();
}

int run(Request& request) {
  try {
    raise_fd_limit();
    serve(request);
    return 0;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "underpassd: %s\n", failure.what());
    say_ready(request.ready_fd, failure.what());
    return 1;
  }
}

}  // namespace

}  // namespace underpass

int main(int argc, char** argv) {
  underpass::log_open(underpass::LogLevel::info, nullptr);
  underpass::Request request;
  CLI::App app("The broker of Underpass: serves one interface of this network namespace");
  app.add_option("-i,--interface", request.iface, "the interface")->required();
  app.add_option("--ready-fd", request.ready_fd, "write ok, or why not, to this descriptor");
  app.add_flag("--stay", request.stay, "do not end with the last client");
  app.add_flag("--generic", request.generic, "do not try XDP in the driver");
  app.add_option("--allow", request.allowed, "a user, besides root, whose programs are served")
      ->take_all();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    constexpr int kExitUsage = 2;
    if (error.get_exit_code() == 0) return app.exit(error);
    fmt::print(stderr, "underpassd: {}; see `underpassd --help`\n", error.what());
    return kExitUsage;
  }
  return underpass::run(request);
}
