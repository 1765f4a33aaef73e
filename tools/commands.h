// commands.h - the subcommands of `underpass`: each says what there is to say and returns the exit
// status
//
// underpass.cpp makes the requests of what the user has typed.
#pragma once

#include <sys/types.h>

#include <span>
#include <string>

#include "tools/run_options.h"

namespace underpass {

// Exit statuses of our own; docs/operating.md lists them.
constexpr int kExitNo = 1;     // ss, stat: no broker; doctor: bypass will not work; detach: not all
constexpr int kExitUsage = 2;  // not of `run`
// As env(1): underpass itself failed; the program was found but not started; not found.
constexpr int kExitRunFailed = 125;
constexpr int kExitNotExecutable = 126;
constexpr int kExitNotFound = 127;

struct RunRequest {
  std::string iface;
  GivenOptions options;
  // What follows "--", ended by a null pointer that is not counted; empty if there was no "--".
  std::span<char*> program;
};
// Returns only if the program was not started.
int run(const RunRequest& request);

struct SsRequest {
  std::string iface;
  bool json = false;
  bool tcp = false;
  bool udp = false;
  bool listening = false;
};
int ss(const SsRequest& request);

struct StatRequest {
  std::string iface;
  bool json = false;
};
int stat(const StatRequest& request);

// `detach` and `attach`.
struct RelocateRequest {
  bool away;
  std::string iface;
  pid_t pid = 0;  // or all of the interface
};
int relocate(const RelocateRequest& request);

int doctor(const std::string& iface);

// The tables of docs/operating.md.
int print_tables();

}  // namespace underpass
