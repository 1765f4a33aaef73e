// options.cpp - options from their text
#include "base/options.h"

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <iterator>

namespace underpass {

namespace {

// "UNDERPASS_" and a name in capitals, made at compile time.
struct VariableName {
  char text[48] = "UNDERPASS_";
  constexpr explicit VariableName(const char* name) {
    size_t at = sizeof "UNDERPASS_" - 1;
    for (; *name != '\0'; ++name) {
      text[at++] = *name >= 'a' && *name <= 'z' ? static_cast<char>(*name - 'a' + 'A') : *name;
    }
    text[at] = '\0';
  }
};

#define UP_NUMBER(name, value, least, most, unit, help) constexpr VariableName kOf_##name(#name);
#define UP_SWITCH(name, value, help) constexpr VariableName kOf_##name(#name);
#define UP_LEVEL(name, value, help) constexpr VariableName kOf_##name(#name);
#define UP_TEXT(name, value, help) constexpr VariableName kOf_##name(#name);
#include "base/options.def"
#undef UP_NUMBER
#undef UP_SWITCH
#undef UP_LEVEL
#undef UP_TEXT

constexpr OptionInfo kTable[] = {
#define UP_NUMBER(name, value, least, most, unit, help) \
  {#name, kOf_##name.text, OptionKind::kNumber, #value, least, most, unit, help},
#define UP_SWITCH(name, value, help) \
  {#name, kOf_##name.text, OptionKind::kSwitch, (value) ? "1" : "0", 0, 0, "", help},
#define UP_LEVEL(name, value, help) \
  {#name, kOf_##name.text, OptionKind::kLevel, #value, 0, 0, "", help},
#define UP_TEXT(name, value, help) \
  {#name, kOf_##name.text, OptionKind::kText, value, 0, 0, "", help},
#include "base/options.def"
#undef UP_NUMBER
#undef UP_SWITCH
#undef UP_LEVEL
#undef UP_TEXT
};

Result<void> set_number(uint32_t& out, const OptionInfo& info, std::string_view text) {
  uint32_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, value);
  if (failure != std::errc{} || stop != end) return Error{EINVAL};
  if (value < info.least || value > info.most) return Error{EINVAL};
  out = value;
  return {};
}

Result<void> set_switch(bool& out, std::string_view text) {
  if (text != "0" && text != "1") return Error{EINVAL};
  out = text == "1";
  return {};
}

Result<void> set_level(LogLevel& out, std::string_view text) {
  const Result<LogLevel> level = log_level_of(text);
  if (!level) return Error{EINVAL};
  out = *level;
  return {};
}

Result<void> set_text(char (&out)[kMaxOptionText], std::string_view text) {
  if (text.size() >= sizeof out) return Error{EINVAL};
  std::memcpy(out, text.data(), text.size());
  out[text.size()] = '\0';
  return {};
}

// secure_getenv: a program with more rights than its caller must not write where the caller says.
const char* variable(const char* name) { return secure_getenv(name); }

void read_interface(Options& options) {
  const char* const name = variable(kInterfaceVariable);
  if (name == nullptr || std::strlen(name) >= sizeof options.iface) return;
  std::strcpy(options.iface, name);
}

void warn_of_bad_values() {
  Options ignored;
  for (const OptionInfo& info : kTable) {
    const char* const text = variable(info.variable);
    if (text == nullptr || set_option(ignored, info, text)) continue;
    log_write(LogLevel::warning, "%s: '%s' is not a value of it; using %s", info.variable, text,
              info.initial);
  }
}

}  // namespace

std::span<const OptionInfo> option_table() { return kTable; }

Result<void> set_option(Options& options, const OptionInfo& info, std::string_view text) {
#define UP_NUMBER(name, value, least, most, unit, help) \
  if (info.variable == kOf_##name.text) return set_number(options.name, info, text);
#define UP_SWITCH(name, value, help) \
  if (info.variable == kOf_##name.text) return set_switch(options.name, text);
#define UP_LEVEL(name, value, help) \
  if (info.variable == kOf_##name.text) return set_level(options.name, text);
#define UP_TEXT(name, value, help) \
  if (info.variable == kOf_##name.text) return set_text(options.name, text);
#include "base/options.def"
#undef UP_NUMBER
#undef UP_SWITCH
#undef UP_LEVEL
#undef UP_TEXT
  return Error{ENOENT};
}

Options options_from_environment() {
  Options options;
  read_interface(options);
  for (const OptionInfo& info : kTable) {
    const char* const text = variable(info.variable);
    // A bad value leaves the default; warn_of_bad_values() says so once the log is open.
    if (text != nullptr) static_cast<void>(set_option(options, info, text));
  }
  if (options.log_file[0] != '\0' && options.log_level == LogLevel::off) {
    options.log_level = LogLevel::info;
  }
  log_open(options.log_level, options.log_file);
  warn_of_bad_values();
  return options;
}

}  // namespace underpass
