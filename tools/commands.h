// commands.h - the subcommands of `underpass`
//
// Each add_ function gives `app` one subcommand. When the user chose it, its callback does the work
// and leaves the exit status in `line`. `line` and `app` must outlive the parsing.
#pragma once

#include <span>

namespace CLI {
class App;
}

namespace underpass {

struct CommandLine {
  // What follows "--", ended by a null pointer that is not counted; empty if there was no "--".
  std::span<char*> program;
  int status = 0;
};

// Exit statuses of our own; docs/operating.md lists them.
constexpr int kExitNo = 1;     // ss, stat: no broker; doctor: bypass will not work; detach: not all
constexpr int kExitUsage = 2;  // not of `run`
// As env(1): underpass itself failed; the program was found but not started; not found.
constexpr int kExitRunFailed = 125;
constexpr int kExitNotExecutable = 126;
constexpr int kExitNotFound = 127;

void add_run(CLI::App& app, CommandLine& line);
void add_ss(CLI::App& app, CommandLine& line);
void add_stat(CLI::App& app, CommandLine& line);
void add_detach(CLI::App& app, CommandLine& line);  // and attach
void add_doctor(CLI::App& app, CommandLine& line);
// Hidden: prints the tables of docs/operating.md.
void add_tables(CLI::App& app, CommandLine& line);

}  // namespace underpass
