// doctor.cpp - `underpass doctor`: will bypass work here, and if not, what is missing
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "tools/commands.h"
#include "tools/diagnosis.h"

namespace underpass {

namespace {

const char* word(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk:
      return "ok";
    case Verdict::kNote:
      return "note";
    case Verdict::kMissing:
      return "missing";
  }
  return "";
}

int doctor(const std::string& iface) {
  const auto findings = diagnose(iface);
  for (const Finding& finding : findings) {
    fmt::print("{:<8} {}\n", word(finding.verdict), to_string(finding));
  }
  const bool works = first_missing(findings) == nullptr;
  fmt::print("{}\n", works ? "bypass will work" : "bypass will not work");
  return works ? 0 : kExitNo;
}

}  // namespace

void add_doctor(CLI::App& app, CommandLine& line) {
  CLI::App* const command =
      app.add_subcommand("doctor", "Say line by line whether bypass will work on an interface");
  const auto iface = std::make_shared<std::string>();
  command->add_option("-i,--interface", *iface, "the interface")->required();
  command->callback([iface, &line] { line.status = doctor(*iface); });
}

}  // namespace underpass
