// log.cpp - where the lines go
#include "base/log.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <iterator>

#include "base/fd.h"
#include "base/sys.h"

namespace underpass {

namespace {

constexpr const char* kNames[] = {"off", "error", "warning", "info", "debug"};
constexpr int kStderr = 2;
constexpr mode_t kFileMode = 0644;

// Plain data without destructors: the program may log through us while it exits.
std::atomic<LogLevel> current_level{LogLevel::off};
std::atomic<int> log_fd{kStderr};
std::atomic<dev_t> log_device{0};
std::atomic<ino_t> log_inode{0};

// A program may have closed our descriptor and been given its number for a file of its own.
bool still_the_log(int fd) {
  if (fd == kStderr) return true;
  struct stat now {};
  if (sys::call(SYS_fstat, fd, sys::arg(&now)) < 0) return false;
  return now.st_dev == log_device && now.st_ino == log_inode;
}

size_t write_prefix(char (&line)[kMaxLogLine], LogLevel level) {
  timespec now{};
  sys::call(SYS_clock_gettime, CLOCK_REALTIME, sys::arg(&now));
  constexpr long kNanosecondsPerMicrosecond = 1000;
  const int length = std::snprintf(
      line, sizeof line, "%lld.%06ld underpass[%d/%d] %s: ", static_cast<long long>(now.tv_sec),
      now.tv_nsec / kNanosecondsPerMicrosecond, sys::getpid(), sys::gettid(), to_string(level));
  return static_cast<size_t>(std::max(length, 0));
}

void write_line(LogLevel level, const char* format, va_list arguments) {
  char line[kMaxLogLine];
  size_t length = write_prefix(line, level);
  const size_t room = sizeof line - length - 1;  // one byte for the newline
  const int wanted = std::vsnprintf(line + length, room, format, arguments);
  if (wanted > 0) length += std::min(static_cast<size_t>(wanted), room - 1);
  line[length++] = '\n';
  const int fd = log_fd;
  // Nowhere to report a log that cannot be written, and no reason to stop the program for it.
  static_cast<void>(sys::write(still_the_log(fd) ? fd : kStderr, line, length));
}

// Keeps the fd for good.
int open_file(const char* file) {
  const long fd = sys::call(SYS_openat, AT_FDCWD, sys::arg(file),
                            O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, kFileMode);
  if (fd < 0) return static_cast<int>(fd);
  const int kept = move_out_of_the_way(Fd(static_cast<int>(fd))).release();
  struct stat status {};
  sys::call(SYS_fstat, kept, sys::arg(&status));
  log_device = status.st_dev;
  log_inode = status.st_ino;
  return kept;
}

}  // namespace

Result<LogLevel> log_level_of(std::string_view name) {
  const auto* const found = std::find(std::begin(kNames), std::end(kNames), name);
  if (found == std::end(kNames)) return Error{EINVAL};
  return static_cast<LogLevel>(found - std::begin(kNames));
}

const char* to_string(LogLevel level) { return kNames[static_cast<size_t>(level)]; }

void log_open(LogLevel level, const char* file) {
  current_level = level;
  if (level == LogLevel::off || file == nullptr || file[0] == '\0') return;
  const int fd = open_file(file);
  if (fd >= 0) {
    log_fd = fd;
  } else {
    log_write(LogLevel::error, "cannot open the log file %s: %s; using stderr", file,
              strerrorname_np(-fd));
  }
}

int log_descriptor() { return log_fd; }

bool log_enabled(LogLevel level) {
  return level != LogLevel::off && level <= current_level.load(std::memory_order_relaxed);
}

void log_write(LogLevel level, const char* format, ...) {
  if (!log_enabled(level)) return;
  const int saved = errno;
  va_list arguments;
  va_start(arguments, format);
  write_line(level, format, arguments);
  va_end(arguments);
  errno = saved;
}

}  // namespace underpass
