"""run_test.py - exit codes and error lines of `underpass run`."""

import os
import subprocess
import time
import unittest

from support import (BROKER, IFACE, LIBRARY, NamespaceCase, UNDERPASS, forbid_af_xdp, needs,
                     needs_root)

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
SAYS_NO = 'echo "cannot start: test" >&3; exit 1\n'


@needs_root
@needs(UNDERPASS)
class RunWithoutBroker(NamespaceCase):
    """What goes wrong before any broker is asked, and with brokers that fail."""

    def run_underpass(self, *arguments, broker=SAYS_NO, **more):
        return self.call(self.install(broker), "run", *arguments, **more)

    def test_missing_interface_is_named(self):
        status, out, err = self.run_underpass("-i", "nosuch0", "--", "true")
        self.assertEqual((status, out), (125, ""))
        self.assert_one_line(err, "no interface nosuch0", "`ip link`")

    def test_overlong_interface_is_missing(self):
        status, _, err = self.run_underpass("-i", "x" * 40, "--", "true")
        self.assertEqual(status, 125)
        self.assert_one_line(err, "no interface xxx")

    def test_loopback_is_refused(self):
        status, _, err = self.run_underpass("-i", "lo", "--", "true")
        self.assertEqual(status, 125)
        self.assert_one_line(err, "lo is the loopback interface")

    def test_program_is_asked_for(self):
        for tail in ([], ["--"]):
            status, _, err = self.run_underpass("-i", IFACE, *tail)
            self.assertEqual(status, 125)
            self.assert_one_line(err, "no program", "-- PROGRAM")

    def test_unknown_option_is_refused(self):
        status, _, err = self.run_underpass("-i", IFACE, "--spinus", "3", "--", "true")
        self.assertEqual(status, 125)
        self.assert_one_line(err, "--spinus")

    def test_program_without_dashes_is_told_where_it_goes(self):
        status, _, err = self.run_underpass("-i", IFACE, "true")
        self.assertEqual(status, 125)
        self.assert_one_line(err, "true", "the program follows --")

    def test_bad_values_are_refused(self):
        for option, text, hint in (("--spin-us", "-3", "from 0 to"), ("--spin-us", "4x", "us"),
                                   ("--helper-period-ms", "0", "from 1"),
                                   ("--log-level", "loud", "debug")):
            status, _, err = self.run_underpass("-i", IFACE, f"{option}={text}", "--", "true")
            self.assertEqual(status, 125)
            self.assert_one_line(err, f"{option}: '{text}'", hint)

    def test_bad_values_in_the_environment_are_refused(self):
        status, _, err = self.run_underpass("-i", IFACE, "--", "true",
                                            environment={"UNDERPASS_TCP": "maybe"})
        self.assertEqual(status, 125)
        self.assert_one_line(err, "UNDERPASS_TCP: 'maybe'", "0 or 1")

    def test_options_of_the_program_are_its_own(self):
        status, _, err = self.run_underpass("-i", IFACE, "--", "true", "--help", "--spin-us", "x")
        self.assertEqual(status, 125)
        self.assert_one_line(err, "cannot start: test")

    def test_missing_broker_binary_is_named(self):
        status, _, err = self.run_underpass("-i", IFACE, "--", "true", broker=None)
        self.assertEqual(status, 125)
        self.assert_one_line(err, "underpassd is not found", "reinstall")

    def test_missing_library_is_named(self):
        binary = self.install(SAYS_NO)
        os.unlink(os.path.join(self.directory, "libunderpass.so"))
        status, _, err = self.call(binary, "run", "-i", IFACE, "--", "true")
        self.assertEqual(status, 125)
        self.assert_one_line(err, "libunderpass.so is not found")

    def test_brokers_own_line_is_passed_on(self):
        status, out, err = self.run_underpass("-i", IFACE, "--", "true")
        self.assertEqual((status, out), (125, ""))
        self.assert_one_line(err, "cannot start: test", f"underpass doctor -i {IFACE}")

    def test_broker_that_ends_silently_is_reported(self):
        status, _, err = self.run_underpass("-i", IFACE, "--", "true", broker="exit 3\n")
        self.assertEqual(status, 125)
        self.assert_one_line(err, "ended before it was ready")

    def test_broker_that_cannot_be_executed_is_reported(self):
        binary = self.install(SAYS_NO)
        os.chmod(os.path.join(self.directory, "underpassd"), 0o644)
        status, _, err = self.call(binary, "run", "-i", IFACE, "--", "true")
        self.assertEqual(status, 125)
        self.assert_one_line(err, "underpassd: Permission denied")

    def test_broker_is_a_daemon_with_clean_descriptors(self):
        report = os.path.join(self.directory, "report")
        script = ("{ ls -l /proc/self/fd; ps -o ppid=,pgid=,sid= -p $$; pwd; "
                  f"echo preload=$LD_PRELOAD; echo args=$*; }} > {report}\n" + SAYS_NO)
        self.run_underpass("-i", IFACE, "--", "true", broker=script,
                           environment={"LD_PRELOAD": "/nonexistent/other.so"})
        with open(report, encoding="ascii") as file:
            text = file.read()
        self.assertIn(f"args=-i {IFACE} --ready-fd 3", text)
        self.assertIn("preload=\n", text)
        self.assertIn("\n/\n", text)
        self.assertEqual(text.count("/dev/null"), 2, text)  # stdin, stderr; stdout is the report
        # 3 is the ready pipe, 4 the directory that ls lists.
        self.assertNotIn(" 5 -> ", text)

    def test_broker_writes_its_messages_to_the_log_file(self):
        log = os.path.join(self.directory, "log")
        self.run_underpass("-i", IFACE, "--log-file", log, "--", "true",
                           broker="echo hello >&2\n" + SAYS_NO)
        with open(log, encoding="ascii") as file:
            self.assertEqual(file.read(), "hello\n")

    def test_no_privilege_is_named(self):
        status, _, err = self.run_underpass("-i", IFACE, "--", "true", prefix=NOBODY)
        self.assertEqual(status, 125)
        self.assert_one_line(err, "no privilege", "CAP_NET_ADMIN", "as root")

    def test_no_af_xdp_is_named(self):
        status, _, err = self.run_underpass("-i", IFACE, "--", "true", preexec=forbid_af_xdp)
        self.assertEqual(status, 125)
        self.assert_one_line(err, "no AF_XDP", "CONFIG_XDP_SOCKETS")

    def test_interface_with_another_xdp_program_is_named(self):
        attach_pass_program(self)
        before = self.namespace.xdp_program_id()
        status, _, err = self.run_underpass("-i", IFACE, "--", "true")
        self.assertEqual(status, 125)
        self.assert_one_line(err, "in use by another XDP program", "other_pass", "xdp off")
        self.assertEqual(self.namespace.xdp_program_id(), before)


def attach_pass_program(case):
    """Attaches somebody else's XDP program to up0 until the test ends."""
    source = case.write("other.c", '__attribute__((section("xdp"), used)) '
                                   'int other_pass(void *context) { return 2; }\n'
                                   '__attribute__((section("license"), used)) '
                                   'char gpl[] = "GPL";\n')
    compiled = source[:-1] + "o"
    subprocess.run(["clang", "-O2", "-g", "-target", "bpf", "-c", source, "-o", compiled],
                   check=True)
    change = ["ip", "link", "set", IFACE, "xdpgeneric"]
    status, _, err = case.call(*change, "obj", compiled, "sec", "xdp")
    case.assertEqual(status, 0, err)
    case.addCleanup(case.call, *change, "off")


@needs_root
@needs(UNDERPASS, BROKER, LIBRARY)
class RunWithBroker(NamespaceCase):
    """The real broker and library."""

    def run_underpass(self, *arguments, **more):
        return self.call(UNDERPASS, "run", "-i", IFACE, *arguments, **more)

    def test_program_is_run_with_its_status_and_its_stdio(self):
        status, out, err = self.run_underpass("--", "sh", "-c", "echo out; echo err >&2; exit 7")
        self.assertEqual((status, out, err), (7, "out\n", "err\n"))

    def test_program_keeps_the_pid(self):
        process = subprocess.Popen([*self.namespace.enter(), UNDERPASS, "run", "-i", IFACE, "--",
                                    "sh", "-c", "echo $$"], stdout=subprocess.PIPE, text=True)
        out, _ = process.communicate(timeout=60)
        self.assertEqual(int(out), process.pid)

    def test_program_has_no_child_it_did_not_start(self):
        status, out, _ = self.run_underpass(
            "--", "python3", "-c",
            "import os\ntry: print(os.wait())\nexcept ChildProcessError: print('none')")
        self.assertEqual((status, out), (0, "none\n"))

    def test_program_that_is_missing_is_127(self):
        status, _, err = self.run_underpass("--", "no-such-program-here")
        self.assertEqual(status, 127)
        self.assert_one_line(err, "no-such-program-here", "No such file")

    def test_program_that_is_not_executable_is_126(self):
        status, _, err = self.run_underpass("--", self.write("data", "x"))
        self.assertEqual(status, 126)
        self.assert_one_line(err, "Permission denied")

    def test_environment_is_what_the_options_say(self):
        status, out, _ = self.run_underpass(
            "--spin-us", "7", "--no-udp", "--", "env",
            environment={"LD_PRELOAD": "libdl.so.2"})
        self.assertEqual(status, 0)
        lines = out.splitlines()
        self.assertIn(f"UNDERPASS_IFACE={IFACE}", lines)
        self.assertIn("UNDERPASS_SPIN_US=7", lines)
        self.assertIn("UNDERPASS_UDP=0", lines)
        self.assertIn(f"LD_PRELOAD={os.path.realpath(LIBRARY)}:libdl.so.2", lines)

    def test_program_that_cannot_be_preloaded_runs_and_is_named(self):
        source = self.write("static.c", "int main(void) { return 5; }\n")
        subprocess.run(["gcc", "-static", source, "-o", source[:-2]], check=True)
        script = self.write("script", f"#!{source[:-2]}\n", 0o755)
        for program in (source[:-2], script):
            status, _, err = self.run_underpass("--", program)
            self.assertEqual(status, 5)
            self.assert_one_line(err, "note: ", "statically linked", "runs on the kernel")

    def test_broker_ends_after_its_last_client_and_leaves_no_program(self):
        status, _, err = self.run_underpass("--", "true")
        self.assertEqual(status, 0, err)
        self.wait_until(lambda: self.namespace.xdp_program_id() is None)
        status, _, err = self.call(UNDERPASS, "stat", "-i", IFACE)
        self.assertEqual(status, 1)
        self.assert_one_line(err, f"no broker runs on {IFACE}")

    def test_two_runs_at_once_share_one_broker(self):
        argv = [*self.namespace.enter(), UNDERPASS, "run", "-i", IFACE, "--", "sleep", "2"]
        both = [subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        for process in both:
            _, err = process.communicate(timeout=60)
            self.assertEqual((process.returncode, err), (0, ""))

    def wait_until(self, condition, limit_s=30):
        deadline = time.monotonic() + limit_s
        while not condition():
            self.assertLess(time.monotonic(), deadline, "took too long")
            time.sleep(0.05)


if __name__ == "__main__":
    unittest.main()
