// underpass.cpp - the command line that a user types; the only file that CLI11 takes its seconds
// for
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>

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

// The commands' requests, and what the chosen one has returned.
struct CommandLine {
  RunRequest run;
  SsRequest ss;
  StatRequest stat;
  RelocateRequest detach{true, {}};
  RelocateRequest attach{false, {}};
  std::string doctor;
  int status = 0;
};

CLI::App* add_command(CLI::App& app, const char* name, const char* help, std::string& iface) {
  CLI::App* const command = app.add_subcommand(name, help);
  command->add_option("-i,--interface", iface, "the interface")->required();
  return command;
}

void add_switch(CLI::App& command, const OptionInfo& info, GivenOptions& given) {
  const bool turns_off = info.initial[0] == '1';
  const std::string help = (turns_off ? "do not " : "") + std::string(info.help);
  command.add_flag_callback(
      option_of(info),
      [&given, name = info.name, text = turns_off ? "0" : "1"] { given[name] = text; }, help);
}

const char* type_of(const OptionInfo& info) {
  switch (info.kind) {
    case OptionKind::kNumber:
      return info.unit;
    case OptionKind::kSwitch:
      return "";
    case OptionKind::kLevel:
      return "LEVEL";
    case OptionKind::kText:
      return "FILE";
  }
  return "";
}

void add_valued(CLI::App& command, const OptionInfo& info, GivenOptions& given) {
  const std::string initial =
      info.initial[0] == '\0' ? "" : fmt::format(" (default {})", info.initial);
  command
      .add_option_function<std::string>(
          option_of(info),
          [&given, name = info.name](const std::string& text) { given[name] = text; },
          info.help + initial)
      ->type_name(type_of(info));
}

void add_options(CLI::App& command, GivenOptions& given) {
  for (const OptionInfo& info : option_table()) {
    if (info.kind == OptionKind::kSwitch) {
      add_switch(command, info, given);
    } else {
      add_valued(command, info, given);
    }
  }
}

void add_run(CLI::App& app, CommandLine& line) {
  CLI::App* const command =
      add_command(app, "run", "Run a program with its TCP and UDP over AF_XDP", line.run.iface);
  command->get_option("-i")->description("the interface to bypass the kernel on");
  command->footer("The program and its arguments follow: -- PROGRAM ARGS...");
  add_options(*command, line.run.options);
  command->callback([&line] { line.status = run(line.run); });
}

void add_ss(CLI::App& app, CommandLine& line) {
  SsRequest& request = line.ss;
  CLI::App* const command =
      add_command(app, "ss", "List bypassed sockets of all processes", request.iface);
  command->add_flag("--json", request.json, "print JSON");
  command->add_flag("-t,--tcp", request.tcp, "TCP only");
  command->add_flag("-u,--udp", request.udp, "UDP only");
  command->add_flag("-l,--listening", request.listening, "listening sockets only");
  command->callback([&line] { line.status = ss(line.ss); });
}

void add_stat(CLI::App& app, CommandLine& line) {
  CLI::App* const command =
      add_command(app, "stat", "Print how an interface is served, and counters", line.stat.iface);
  command->add_flag("--json", line.stat.json, "print JSON");
  command->callback([&line] { line.status = stat(line.stat); });
}

void add_relocation(CLI::App& app, const char* name, const char* help, RelocateRequest& request,
                    int& status) {
  CLI::App* const command = add_command(app, name, help, request.iface);
  command->add_option("-p,--pid", request.pid, "one program, not all of the interface")
      ->check(CLI::PositiveNumber);
  command->callback([&request, &status] { status = relocate(request); });
}

void add_doctor(CLI::App& app, CommandLine& line) {
  CLI::App* const command = add_command(
      app, "doctor", "Say line by line whether bypass will work on an interface", line.doctor);
  command->callback([&line] { line.status = doctor(line.doctor); });
}

void add_tables(CLI::App& app, CommandLine& line) {
  CLI::App* const command = app.add_subcommand("tables", "Print the tables of docs/operating.md");
  command->group("");  // hidden
  command->callback([&line] { line.status = print_tables(); });
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
  line.run.program = cut_program(argc, argv);
  CLI::App app("Runs the TCP and UDP of unmodified programs in user space, over AF_XDP.",
               "underpass");
  app.require_subcommand(1);
  add_run(app, line);
  add_ss(app, line);
  add_stat(app, line);
  add_relocation(app, "detach", "Have running programs leave bypass, with their connections",
                 line.detach, line.status);
  add_relocation(app, "attach", "Have them come back", line.attach, line.status);
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
