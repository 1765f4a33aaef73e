// options.h - the user's options, as the library and `underpass run` read them
//
// One table, base/options.def, makes the struct, the environment variables and --help. Depends on
// nothing but libc, allocates nothing and throws nothing, so that it can run inside a constructor
// of the preloaded library. Thread-safe as long as nobody changes the environment.
#pragma once

#include <net/if.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/log.h"
#include "base/result.h"

namespace underpass {

constexpr const char* kInterfaceVariable = "UNDERPASS_IFACE";
constexpr size_t kMaxOptionText = 256;

struct Options {
  // Of UNDERPASS_IFACE, which `underpass run -i` sets. Empty: nothing is bypassed.
  char iface[IF_NAMESIZE] = "";
#define UP_NUMBER(name, value, least, most, unit, help) uint32_t name = value;
#define UP_SWITCH(name, value, help) bool name = value;
#define UP_LEVEL(name, value, help) LogLevel name = LogLevel::value;
#define UP_TEXT(name, value, help) char name[kMaxOptionText] = value;
#include "base/options.def"
#undef UP_NUMBER
#undef UP_SWITCH
#undef UP_LEVEL
#undef UP_TEXT
};

enum class OptionKind { kNumber, kSwitch, kLevel, kText };

struct OptionInfo {
  const char* name;      // as in Options
  const char* variable;  // UNDERPASS_<NAME>
  OptionKind kind;
  const char* initial;  // the default, as text
  uint32_t least;       // kNumber only
  uint32_t most;        // kNumber only
  const char* unit;
  const char* help;
};

// Every option, in the order of options.def.
std::span<const OptionInfo> option_table();

// Sets the member of `options` that `info` describes. EINVAL: `text` is not a value of it (a number
// in its bounds; 0 or 1; a level's name; fewer than kMaxOptionText bytes); `options` is unchanged.
Result<void> set_option(Options& options, const OptionInfo& info, std::string_view text);

// Reads every variable. A bad value counts as absent and is logged as a warning. Opens the log.
Options options_from_environment();

}  // namespace underpass
