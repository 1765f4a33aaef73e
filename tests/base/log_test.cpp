// log_test.cpp - one line, one write
#include "base/log.h"

#include <criterion/criterion.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>

using namespace underpass;

namespace {

struct LogFile {
  char path[32] = "/tmp/up-log-test-XXXXXX";
  explicit LogFile(LogLevel level) {
    const int fd = ::mkstemp(path);
    cr_assert_geq(fd, 0);
    ::close(fd);
    log_open(level, path);
  }
  ~LogFile() { ::unlink(path); }
  std::string text() const {
    std::string all(8192, '\0');
    std::FILE* const file = std::fopen(path, "r");
    all.resize(std::fread(all.data(), 1, all.size(), file));
    std::fclose(file);
    return all;
  }
};

}  // namespace

Test(log, level_says_what_is_written) {
  const LogFile log(LogLevel::info);
  log_write(LogLevel::info, "said %d", 1);
  log_write(LogLevel::debug, "not said");
  const std::string text = log.text();
  cr_assert(text.ends_with("info: said 1\n"), "%s", text.c_str());
  cr_assert(!log_enabled(LogLevel::debug) && log_enabled(LogLevel::error));
}

Test(log, off_writes_nothing) {
  const LogFile log(LogLevel::off);
  log_write(LogLevel::error, "not said");
  cr_assert_eq(log.text(), "");
}

Test(log, long_line_is_cut_and_ends) {
  const LogFile log(LogLevel::info);
  log_write(LogLevel::info, "%s", std::string(2000, 'x').c_str());
  const std::string text = log.text();
  cr_assert_leq(text.size(), kMaxLogLine);
  cr_assert_eq(text.back(), '\n');
}

Test(log, errno_is_left_alone) {
  const LogFile log(LogLevel::info);
  errno = ENOTTY;
  log_write(LogLevel::info, "said");
  cr_assert_eq(errno, ENOTTY);
}

Test(log, names_of_levels) {
  cr_assert(*log_level_of("warning") == LogLevel::warning);
  cr_assert_str_eq(to_string(LogLevel::debug), "debug");
  cr_assert_eq(log_level_of("loud").error(), EINVAL);
}
