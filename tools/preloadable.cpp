// preloadable.cpp - reading an ELF header, nothing more
#include "tools/preloadable.h"

#include <elf.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>

namespace underpass {

namespace {

bool is_program(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
         ::access(path.c_str(), X_OK) == 0;
}

// As execvp(3) finds it; empty: nowhere.
std::string resolve(const std::string& program) {
  if (program.find('/') != std::string::npos) return is_program(program) ? program : "";
  const char* const path = std::getenv("PATH");
  std::istringstream directories(path == nullptr ? "/bin:/usr/bin" : path);
  for (std::string directory; std::getline(directories, directory, ':');) {
    std::string candidate = (directory.empty() ? "." : directory) + "/" + program;
    if (is_program(candidate)) return candidate;
  }
  return "";
}

// Of "#!/usr/bin/python3 -s", "/usr/bin/python3"; empty if the file is no script.
std::string interpreter_of(std::istream& file) {
  std::string line;
  if (file.get() != '#' || file.get() != '!' || !std::getline(file, line)) return "";
  std::istringstream words(line);
  std::string interpreter;
  words >> interpreter;
  return interpreter;
}

bool gains_rights(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return false;
  if ((status.st_mode & S_ISUID) != 0 && status.st_uid != ::getuid()) return true;
  if ((status.st_mode & S_ISGID) != 0 && status.st_gid != ::getgid()) return true;
  return ::getuid() != 0 && ::getxattr(path.c_str(), "security.capability", nullptr, 0) > 0;
}

// Nothing if it is not a 64-bit ELF file.
std::optional<bool> has_dynamic_linker(std::istream& file) {
  Elf64_Ehdr header{};
  file.read(reinterpret_cast<char*>(&header), sizeof header);
  if (!file || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return std::nullopt;
  if (header.e_ident[EI_CLASS] != ELFCLASS64) return std::nullopt;
  file.seekg(static_cast<std::streamoff>(header.e_phoff));
  for (int i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment{};
    if (!file.read(reinterpret_cast<char*>(&segment), sizeof segment)) return std::nullopt;
    if (segment.p_type == PT_INTERP) return true;
  }
  return false;
}

}  // namespace

std::string why_not_preloadable(const std::string& program) {
  std::string path = resolve(program);
  if (path.empty()) return "";
  {
    std::ifstream script(path, std::ios::binary);
    const std::string interpreter = interpreter_of(script);
    if (!interpreter.empty()) path = interpreter;
  }
  if (gains_rights(path)) return path + " runs with more rights than its caller's";
  std::ifstream file(path, std::ios::binary);
  if (!has_dynamic_linker(file).value_or(true)) return path + " is statically linked";
  return "";
}

}  // namespace underpass
