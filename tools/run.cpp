// run.cpp - `underpass run`: broker, preload, exec
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>

#include "base/options.h"
#include "tools/broker_start.h"
#include "tools/commands.h"
#include "tools/diagnosis.h"
#include "tools/layout.h"
#include "tools/link_facts.h"
#include "tools/preloadable.h"
#include "tools/run_options.h"
#include "xdp/broker_client.h"

namespace underpass {

namespace {

// Ends `run` with a line on stderr.
struct Failure {
  int status;
  std::string line;
};

Failure cannot_run(std::string line) { return {kExitRunFailed, std::move(line)}; }

Failure not_found(const char* file) {
  return cannot_run(
      fmt::format("{} is not found from {}: run `make`, or reinstall", file, own_directory()));
}

std::optional<Failure> check_interface(const std::string& iface) {
  const auto link = link_facts(iface);
  if (!link) return cannot_run(to_string(no_such_interface(iface)));
  if (!link->loopback) return std::nullopt;
  return cannot_run(fmt::format(
      "{} is the loopback interface, which stays with the kernel: name the one to other hosts",
      iface));
}

std::optional<Failure> export_preload() {
  const auto library = find_library();
  if (!library) return not_found("libunderpass.so");
  // ld.so(8): the list is separated by spaces and colons, and there is no way to quote them.
  if (library->find_first_of(" :") != std::string::npos) {
    return cannot_run(fmt::format(
        "{} cannot be preloaded: its path has a space or a colon; install it elsewhere", *library));
  }
  const char* const before = std::getenv("LD_PRELOAD");
  const bool alone = before == nullptr || before[0] == '\0';
  ::setenv("LD_PRELOAD", (alone ? *library : *library + ":" + before).c_str(), 1);
  return std::nullopt;
}

// Names the fact that a person can change, if one is found, and the broker's own words.
Failure broker_failure(const std::string& iface, const std::string& reason) {
  const auto findings = diagnose(iface);
  if (const Finding* const missing = first_missing(findings)) {
    return cannot_run(fmt::format("{} (underpassd: {})", to_string(*missing), reason));
  }
  return cannot_run(
      fmt::format("{} (`underpass doctor -i {}` finds nothing missing)", reason, iface));
}

std::optional<Failure> start_and_lease(const std::string& iface, Fd& lease) {
  const auto broker = find_broker();
  if (!broker) return not_found("underpassd");
  const char* const log = std::getenv("UNDERPASS_LOG_FILE");
  const std::string reason = start_broker({*broker, iface, log == nullptr ? "" : log});
  // Also when ours failed: another `run` may have started one at the same moment.
  auto held = BrokerClient::lease(iface);
  if (!held) return broker_failure(iface, reason.empty() ? std::strerror(held.error()) : reason);
  lease = std::move(*held);
  return std::nullopt;
}

std::optional<Failure> ensure_broker(const std::string& iface, Fd& lease) {
  auto held = BrokerClient::lease(iface);
  if (!held && held.error() == ECONNREFUSED) return start_and_lease(iface, lease);
  if (!held && held.error() == EPERM) return cannot_run(to_string(held_by_another_user(iface)));
  if (!held) {
    return cannot_run(fmt::format(
        "the broker of {} does not let us in ({}): run as the user that started it, or as root",
        iface, std::strerror(held.error())));
  }
  lease = std::move(*held);
  return std::nullopt;
}

Failure execute(std::span<char*> program) {
  ::execvp(program[0], program.data());
  const int code = errno;
  return {code == ENOENT ? kExitNotFound : kExitNotExecutable,
          fmt::format("{}: {}", program[0], std::strerror(code))};
}

// The program runs all the same: degrade, never fail, but do not hide it.
void say_if_not_preloadable(const char* program) {
  const std::string reason = why_not_preloadable(program);
  if (reason.empty()) return;
  fmt::print(stderr, "underpass run: note: {}: nothing can be preloaded, it runs on the kernel\n",
             reason);
}

// Returns only if the program was not started.
Failure start(const RunRequest& request) {
  if (request.program.empty()) {
    return cannot_run("no program: underpass run -i IFACE [OPTIONS] -- PROGRAM ARGS...");
  }
  if (auto failure = check_interface(request.iface)) return *failure;
  if (const std::string bad = export_options(request.options); !bad.empty()) return cannot_run(bad);
  ::setenv(kInterfaceVariable, request.iface.c_str(), 1);
  if (auto failure = export_preload()) return *failure;
  // Closes at exec; the broker's period of grace lasts until the program takes its own.
  Fd lease;
  if (auto failure = ensure_broker(request.iface, lease)) return *failure;
  say_if_not_preloadable(request.program[0]);
  return execute(request.program);
}

}  // namespace

int run(const RunRequest& request) {
  const Failure failure = start(request);
  fmt::print(stderr, "underpass run: {}\n", failure.line);
  return failure.status;
}

}  // namespace underpass
