// underpass.cpp - the command that a user types
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "tools/commands.h"

namespace underpass {
namespace {

// The program's own options are none of ours, so its part is cut off before anything is parsed.
std::span<char*> cut_program(int& argc, char** argv) {
  char** const end = argv + argc;
  char** const dashes = std::find_if(argv, end, [](char* a) { return std::strcmp(a, "--") == 0; });
  if (dashes == end) return {};
  argc = static_cast<int>(dashes - argv);
  return {dashes + 1, end};
}

constexpr int kExtraArguments = static_cast<int>(CLI::ExitCodes::ExtrasError);

int report(const CLI::App& app, const CLI::ParseError& error) {
  const bool is_help = error.get_exit_code() == 0;
  if (is_help) return app.exit(error);
  const bool is_run = app.got_subcommand("run");
  const bool is_word = is_run && error.get_exit_code() == kExtraArguments;
  fmt::print(stderr, "underpass{}: {}{}; see `underpass{} --help`\n", is_run ? " run" : "",
             error.what(), is_word ? " (the program follows --)" : "", is_run ? " run" : "");
  return is_run ? kExitRunFailed : kExitUsage;
}

int main(int argc, char** argv) {
  CommandLine line;
  line.program = cut_program(argc, argv);
  CLI::App app("Runs the TCP and UDP of unmodified programs in user space, over AF_XDP.",
               "underpass");
  app.require_subcommand(1);
  add_run(app, line);
  add_ss(app, line);
  add_stat(app, line);
  add_detach(app, line);
  add_doctor(app, line);
  add_tables(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return report(app, error);
  }
  return line.status;
}

}  // namespace
}  // namespace underpass

int main(int argc, char** argv) { return underpass::main(argc, argv); }
