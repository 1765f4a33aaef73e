// log.h - one line at a time to stderr or to a file; off unless asked for
//
// Written for the preloaded library: system calls only through sys::, no allocation, errno and the
// program's stdout untouched, no cancellation point. Each line is one write(2) of at most
// kMaxLogLine bytes, so lines of several threads and processes do not mix. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace underpass {

// The names are the values of UNDERPASS_LOG_LEVEL.
enum class LogLevel : uint8_t { off, error, warning, info, debug };

constexpr size_t kMaxLogLine = 512;

// EINVAL: not the name of a level.
Result<LogLevel> log_level_of(std::string_view name);
const char* to_string(LogLevel level);

// Says what is written from now on, and where: appended to `file`, or to stderr when it is null or
// empty. A file that cannot be opened is reported on stderr and stderr is used. Call it once,
// before there are threads that log.
void log_open(LogLevel level, const char* file);

bool log_enabled(LogLevel level);

// Where the lines go: the one descriptor of ours that the child of a fork keeps.
int log_descriptor();

// Writes one line if `level` is enabled; a newline is added, a long line is cut.
void log_write(LogLevel level, const char* format, ...) __attribute__((format(printf, 2, 3)));

}  // namespace underpass
