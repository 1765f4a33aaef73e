// layout.cpp - the binaries find one another
#include "tools/layout.h"

#include <cerrno>
#include <filesystem>
#include <initializer_list>
#include <system_error>

namespace underpass {

namespace fs = std::filesystem;

namespace {

Result<std::string> find_file(std::initializer_list<const char*> places) {
  const fs::path here = own_directory();
  for (const char* place : places) {
    std::error_code failure;
    const fs::path found = fs::canonical(here / place, failure);
    if (!failure && fs::is_regular_file(found, failure)) return found.string();
  }
  return Error{ENOENT};
}

}  // namespace

std::string own_directory() {
  std::error_code failure;
  const fs::path self = fs::read_symlink("/proc/self/exe", failure);
  return failure ? "." : self.parent_path().string();
}

Result<std::string> find_broker() { return find_file({"underpassd", "../sbin/underpassd"}); }

Result<std::string> find_library() {
  return find_file({"libunderpass.so", "../lib/underpass/libunderpass.so"});
}

}  // namespace underpass
