#include "shim/preload_environment.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <string_view>

#include "base/options.h"
#include "base/sys.h"

namespace underpass {
namespace {

constexpr std::string_view kPreload = "LD_PRELOAD=";
constexpr std::string_view kOurs = "UNDERPASS_";

// Copies that live as long as the program, which may write over its own (setproctitle).
std::array<char*, 16> remembered;
size_t count = 0;
const char* library = nullptr;

bool begins_with(const char* entry, std::string_view start) {
  return std::strncmp(entry, start.data(), start.size()) == 0;
}

bool is_interface(const char* entry) {
  const size_t length = std::strlen(kInterfaceVariable);
  return std::strncmp(entry, kInterfaceVariable, length) == 0 && entry[length] == '=';
}

bool any_of(char* const* environment, bool (*matches)(const char*)) {
  if (environment == nullptr) return false;
  for (; *environment != nullptr; ++environment) {
    if (matches(*environment)) return true;
  }
  return false;
}

size_t length_of(char* const* environment) {
  size_t length = 0;
  while (environment != nullptr && environment[length] != nullptr) ++length;
  return length;
}

}  // namespace

void PreloadEnvironment::remember(char* const* environment) {
  const auto is_preload = [](const char* entry) { return begins_with(entry, kPreload); };
  if (!any_of(environment, is_preload) || !any_of(environment, is_interface)) return;
  Dl_info here{};
  if (::dladdr(reinterpret_cast<const void*>(&PreloadEnvironment::remember), &here) == 0) return;
  library = ::strdup(here.dli_fname);
  for (; *environment != nullptr && count < remembered.size(); ++environment) {
    if (!is_preload(*environment) && !begins_with(*environment, kOurs)) continue;
    char* const copy = ::strdup(*environment);
    if (copy != nullptr) remembered[count++] = copy;
  }
}

size_t PreloadEnvironment::room_for(char* const* environment) {
  if (count == 0 || library == nullptr) return 0;
  const auto is_meant = [](const char* entry) {
    return begins_with(entry, kPreload) || is_interface(entry);
  };
  if (any_of(environment, is_meant)) return 0;
  // By the ids that count for the new program; ld.so(8) would print a line for a file that it
  // cannot open.
  if (sys::call(SYS_faccessat2, AT_FDCWD, sys::arg(library), R_OK, AT_EACCESS) < 0) return 0;
  return length_of(environment) + count + 1;
}

char** PreloadEnvironment::extended(char* const* environment, char** room) {
  char** end = std::copy_n(remembered.begin(), count, room);
  end = std::copy_n(environment, length_of(environment), end);
  *end = nullptr;
  return room;
}

}  // namespace underpass
