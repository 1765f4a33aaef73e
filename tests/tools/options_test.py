"""options_test.py - base/options.h: what the library makes of its environment."""

import os
import resource
import subprocess
import tempfile
import unittest

from support import ROOT

# RLIMIT_NOFILE: low, so that the log's descriptor is among those that a program reuses.
NUMBERS = 64
PROGRAM = r"""
#include <cstdio>
#include "base/options.h"
int main() {
  const underpass::Options o = underpass::options_from_environment();
  std::printf("%s|%u|%u|%d|%d|%s|%s\n", o.iface, o.spin_us, o.helper_period_ms, o.tcp, o.udp,
              underpass::to_string(o.log_level), o.log_file);
  const bool steal = std::getenv("STEAL") != nullptr;
  // As daemons do; the numbers are somebody else's afterwards.
  for (int fd = 3; steal && fd < kNumbers; ++fd) close(fd);
  for (int fd = 3; steal && fd < kNumbers; ++fd) open("/tmp", O_TMPFILE | O_RDWR, 0600);
  errno = 0;
  underpass::log_write(underpass::LogLevel::info, "a line of %d", 1);
  const int after = errno;
  off_t stolen = 0;
  for (int fd = 3; steal && fd < kNumbers; ++fd) stolen += lseek(fd, 0, SEEK_END);
  return after != 0 || stolen != 0;
}
"""


class OptionsFromEnvironment(unittest.TestCase):
    """Compiles a program around base/options.h and runs it with environments."""

    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory(prefix="up-options-")
        cls.addClassCleanup(directory.cleanup)
        cls.directory = directory.name
        cls.binary = os.path.join(cls.directory, "program")
        source = os.path.join(cls.directory, "program.cpp")
        with open(source, "w", encoding="ascii") as file:
            file.write("#include <unistd.h>\n#include <fcntl.h>\n#include <cerrno>\n"
                       f"#include <cstdlib>\nconstexpr int kNumbers = {NUMBERS};\n" + PROGRAM)
        bodies = [os.path.join(ROOT, "base", name + ".cpp") for name in
                  ("options", "log", "fd", "fd_limit", "sys")]
        subprocess.run(["g++", "-std=c++20", "-I", ROOT, source, *bodies, "-o", cls.binary],
                       check=True)

    def read(self, **variables):
        done = subprocess.run([self.binary], env=variables, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=True,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE,
                                                                    (NUMBERS, NUMBERS)))
        return done.stdout.strip().split("|"), done.stderr

    def test_nothing_set_gives_the_defaults_and_no_output(self):
        values, err = self.read()
        self.assertEqual(values[0], "")
        self.assertEqual(values[3:], ["1", "1", "off", ""])
        self.assertEqual(err, "")

    def test_values_are_read(self):
        values, _ = self.read(UNDERPASS_IFACE="eth7", UNDERPASS_SPIN_US="0",
                              UNDERPASS_HELPER_PERIOD_MS="1000", UNDERPASS_TCP="0",
                              UNDERPASS_UDP="0", UNDERPASS_LOG_LEVEL="error")
        self.assertEqual(values, ["eth7", "0", "1000", "0", "0", "error", ""])

    def test_bad_values_fall_back_and_are_logged(self):
        defaults, _ = self.read()
        values, err = self.read(UNDERPASS_SPIN_US="-1", UNDERPASS_HELPER_PERIOD_MS="0",
                                UNDERPASS_TCP="yes", UNDERPASS_LOG_LEVEL="warning")
        self.assertEqual(values[1:5], defaults[1:5])
        for name in ("SPIN_US: '-1'", "HELPER_PERIOD_MS: '0'", "TCP: 'yes'"):
            self.assertIn("UNDERPASS_" + name, err)

    def test_numbers_with_rubbish_are_bad(self):
        for text in ("", " 5", "5 ", "0x10", "99999999999999999999", "1000001"):
            values, err = self.read(UNDERPASS_SPIN_US=text, UNDERPASS_LOG_LEVEL="warning")
            self.assertEqual(values[1], self.read()[0][1])
            self.assertIn("UNDERPASS_SPIN_US", err)

    def test_overlong_interface_counts_as_none(self):
        self.assertEqual(self.read(UNDERPASS_IFACE="x" * 16)[0][0], "")

    def test_log_file_without_level_means_info(self):
        log = os.path.join(self.directory, "a.log")
        values, err = self.read(UNDERPASS_LOG_FILE=log)
        self.assertEqual(values[5:], ["info", log])
        self.assertEqual(err, "")
        with open(log, encoding="ascii") as file:
            self.assertRegex(file.read(), r"^\d+\.\d{6} underpass\[\d+/\d+\] info: a line of 1\n$")

    def test_log_file_that_cannot_be_opened_is_said_on_stderr(self):
        _, err = self.read(UNDERPASS_LOG_FILE="/nonexistent/a.log")
        self.assertIn("cannot open the log file /nonexistent/a.log: ENOENT", err)
        self.assertIn("a line of 1", err)

    def test_log_never_writes_into_a_file_that_took_its_number(self):
        _, err = self.read(UNDERPASS_LOG_FILE=os.path.join(self.directory, "b.log"), STEAL="1")
        self.assertIn("a line of 1", err)


if __name__ == "__main__":
    unittest.main()
