// run_options.cpp - from the command line into the program's environment
#include "tools/run_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

namespace underpass {

namespace {

std::string values_of(const OptionInfo& info) {
  switch (info.kind) {
    case OptionKind::kNumber:
      return fmt::format("a number of {} from {} to {}", info.unit, info.least, info.most);
    case OptionKind::kSwitch:
      return "0 or 1";
    case OptionKind::kLevel:
      return "off, error, warning, info or debug";
    case OptionKind::kText:
      return fmt::format("shorter than {} bytes", kMaxOptionText);
  }
  return "";
}

// `name` is what the user wrote: an option or a variable.
std::string check(const OptionInfo& info, const std::string& name, const std::string& text) {
  Options ignored;
  if (set_option(ignored, info, text)) return "";
  return fmt::format("{}: '{}' is not {}", name, text, values_of(info));
}

std::string prepared(const OptionInfo& info, const std::string& text) {
  if (info.kind != OptionKind::kText || text.empty()) return text;
  return std::filesystem::absolute(text).string();
}

}  // namespace

std::string option_of(const OptionInfo& info) {
  std::string name = info.name;
  std::replace(name.begin(), name.end(), '_', '-');
  const bool turns_off = info.kind == OptionKind::kSwitch && info.initial[0] == '1';
  return (turns_off ? "--no-" : "--") + name;
}

std::string export_options(const GivenOptions& given) {
  for (const OptionInfo& info : option_table()) {
    const auto found = given.find(info.name);
    const char* const inherited = std::getenv(info.variable);
    if (found == given.end() && inherited == nullptr) continue;
    const bool is_given = found != given.end();
    const std::string text = prepared(info, is_given ? found->second : inherited);
    const std::string bad = check(info, is_given ? option_of(info) : info.variable, text);
    if (!bad.empty()) return bad;
    ::setenv(info.variable, text.c_str(), 1);
  }
  return "";
}

}  // namespace underpass
