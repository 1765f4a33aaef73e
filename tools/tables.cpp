// tables.cpp - the tables of docs/operating.md, made from the same macros as the code
#include <fmt/format.h>

#include "base/options.h"
#include "tools/commands.h"
#include "tools/run_options.h"
#include "tools/xsk_statistics.h"
#include "xdp/control_abi.h"
#include "xdp/steer_abi.h"

namespace underpass {

namespace {

void print_options() {
  fmt::print("| option | variable | default | meaning |\n|---|---|---|---|\n");
  for (const OptionInfo& info : option_table()) {
    const char* const initial = info.initial[0] == '\0' ? "none" : info.initial;
    fmt::print("| `{}` | `{}` | {}{}{} | {} |\n", option_of(info), info.variable, initial,
               info.unit[0] == '\0' ? "" : " ", info.unit, info.help);
  }
}

void print_client_counters() {
  fmt::print("| counter | meaning |\n|---|---|\n");
#define X(name, help) fmt::print("| `{}` | {} |\n", #name, help);
  UP_CLIENT_COUNTERS(X)
#undef X
}

void print_xsk_statistics() {
  fmt::print("| counter | meaning |\n|---|---|\n");
#define X(name, help) fmt::print("| `{}` | {} |\n", #name, help);
  UP_XSK_STATISTICS(X)
#undef X
}

void print_steer_counters() {
  fmt::print("| counter | meaning |\n|---|---|\n");
#define X(name, help) fmt::print("| `{}` | {} |\n", #name, help);
  UP_STEER_COUNTERS(X)
#undef X
}

}  // namespace

int print_tables() {
  print_options();
  print_steer_counters();
  print_client_counters();
  print_xsk_statistics();
  return 0;
}

}  // namespace underpass
