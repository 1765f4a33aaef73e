"""doctor_test.py - what `underpass doctor`, `ss` and `stat` say without and with a broker."""

import json
import os
import subprocess
import time
import unittest

from run_test import NOBODY, attach_pass_program
from support import (BROKER, IFACE, LIBRARY, NamespaceCase, ROOT, UNDERPASS, forbid_af_xdp, needs,
                     needs_root, sh)


@needs_root
@needs(UNDERPASS)
class Doctor(NamespaceCase):
    """Without a broker."""

    def doctor(self, **more):
        # An empty broker: found, never started.
        return self.call(self.install(""), "doctor", "-i", IFACE, **more)

    def set_link(self, *change):
        sh("ip", "-n", self.namespace.name, *change)

    def test_bypass_will_work_in_the_lab(self):
        status, out, err = self.doctor()
        self.assertEqual((status, err), (0, ""), out)
        self.assertTrue(out.endswith("\nbypass will work\n"), out)
        for line in out.splitlines()[:-1]:
            self.assertRegex(line, r"^(ok|note) +\S")
        self.assertIn("driver veth: native XDP", out)
        self.assertIsNone(self.namespace.xdp_program_id())

    def test_missing_interface(self):
        status, out, _ = self.call(UNDERPASS, "doctor", "-i", "nosuch0")
        self.assertEqual(status, 1)
        self.assertIn("missing  there is no interface nosuch0", out)

    def test_interface_that_is_down(self):
        self.set_link("link", "set", IFACE, "down")
        self.addCleanup(self.set_link, "link", "set", IFACE, "up")
        status, out, _ = self.doctor()
        self.assertEqual(status, 1)
        self.assertIn(f"is down: ip link set {IFACE} up", out)

    def test_interface_without_address(self):
        self.set_link("address", "del", "10.9.0.1/24", "dev", IFACE)
        self.addCleanup(self.set_link, "address", "add", "10.9.0.1/24", "dev", IFACE)
        status, out, _ = self.doctor()
        self.assertEqual(status, 1)
        self.assertIn("no address that other networks know: ip address add", out)

    def test_mtu_over_a_chunk(self):
        self.set_link("link", "set", IFACE, "mtu", "9000")
        self.addCleanup(self.set_link, "link", "set", IFACE, "mtu", "1500")
        status, out, _ = self.doctor()
        self.assertEqual(status, 1)
        self.assertRegex(out, r"MTU 9000 is over \d+, .*: ip link set up0 mtu 1500")

    def test_no_privilege(self):
        status, out, _ = self.doctor(prefix=NOBODY)
        self.assertEqual(status, 1)
        self.assertIn("missing  no privilege to start a broker", out)

    def test_no_af_xdp(self):
        status, out, _ = self.doctor(preexec=forbid_af_xdp)
        self.assertEqual(status, 1)
        self.assertIn("missing  this kernel has no AF_XDP", out)

    def test_another_xdp_program(self):
        attach_pass_program(self)
        status, out, _ = self.doctor()
        self.assertEqual(status, 1)
        self.assertIn("in use by another XDP program", out)

    def test_missing_files(self):
        binary = self.install()
        os.unlink(os.path.join(self.directory, "libunderpass.so"))
        status, out, _ = self.call(binary, "doctor", "-i", IFACE)
        self.assertEqual(status, 1)
        self.assertIn("missing  underpassd is not found", out)
        self.assertIn("missing  libunderpass.so is not found", out)

    def test_ss_and_stat_without_a_broker_say_so(self):
        for command in ("ss", "stat"):
            status, out, err = self.call(UNDERPASS, command, "-i", IFACE)
            self.assertEqual((status, out), (1, ""))
            self.assert_one_line(err, f"no broker runs on {IFACE}", "underpass run")

    def test_ss_and_stat_name_a_missing_interface(self):
        for command in ("ss", "stat"):
            status, _, err = self.call(UNDERPASS, command, "-i", "nosuch0")
            self.assertEqual(status, 1)
            self.assert_one_line(err, "no interface nosuch0")

    def test_usage_errors_are_2(self):
        for arguments in ((), ("ss",), ("nonsense",), ("stat", "-i")):
            status, _, err = self.call(UNDERPASS, *arguments)
            self.assertEqual(status, 2)
            self.assert_one_line(err, "--help")


LISTENERS = """
import socket, sys
tcp = socket.create_server(("0.0.0.0", 7001))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("0.0.0.0", 7002))
print("ready", flush=True)
sys.stdin.read()
"""


@needs_root
@needs(UNDERPASS, BROKER, LIBRARY)
class WithProgram(NamespaceCase):
    """A program with a TCP listener and a UDP socket runs under Underpass."""

    def setUp(self):
        super().setUp()
        argv = [*self.namespace.enter(), UNDERPASS, "run", "-i", IFACE, "--", "python3", "-c",
                LISTENERS]
        self.program = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.addCleanup(self.end_program)
        self.assertEqual(self.program.stdout.readline(), "ready\n")

    def end_program(self):
        self.program.communicate(timeout=60)
        # The next test's broker must not meet the end of this one.
        deadline = time.monotonic() + 30
        while self.call(UNDERPASS, "stat", "-i", IFACE)[0] == 0:
            self.assertLess(time.monotonic(), deadline, "the broker did not end")
            time.sleep(0.1)

    def sockets(self, *flags):
        status, out, err = self.call(UNDERPASS, "ss", "-i", IFACE, "--json", *flags)
        self.assertEqual((status, err), (0, ""))
        return json.loads(out)["sockets"]

    def test_ss_lists_the_sockets_with_their_process(self):
        found = {(s["netid"], s["state"], s["local_port"], s["pid"]) for s in self.sockets()}
        self.assertLessEqual({("tcp", "LISTEN", 7001, self.program.pid),
                              ("udp", "UNCONN", 7002, self.program.pid)}, found)

    def test_ss_filters_by_protocol(self):
        self.assertEqual({s["netid"] for s in self.sockets("-t")}, {"tcp"})
        self.assertEqual({s["netid"] for s in self.sockets("-u")}, {"udp"})

    def test_ss_prints_columns(self):
        status, out, _ = self.call(UNDERPASS, "ss", "-i", IFACE, "-lt")
        self.assertEqual(status, 0)
        head, *lines = out.splitlines()
        self.assertEqual(head.split()[:4], ["Netid", "State", "Recv-Q", "Send-Q"])
        self.assertTrue(any(line.startswith("tcp   LISTEN") and ":7001 " in line and
                            f"pid={self.program.pid}," in line for line in lines), out)

    def test_stat_json_has_the_documented_shape(self):
        status, out, err = self.call(UNDERPASS, "stat", "-i", IFACE, "--json")
        self.assertEqual((status, err), (0, ""))
        report = json.loads(out)
        self.assertEqual(report["interface"], IFACE)
        self.assertIn(report["mode"], ("driver", "generic"))
        self.assertIn(report["copy"], ("copy", "zero-copy"))
        self.assertEqual(report["queues"], 1)
        self.assertGreater(report["broker_pid"], 1)
        self.assertTrue(report["steer"])
        client, = report["clients"]
        self.assertEqual(client["pid"], self.program.pid)
        self.assertTrue(client["program"].startswith("python3"))
        self.assertEqual(set(client["counters"]), set(report["totals"]))
        self.assertIn("rx_ring_full", client["xsk"])

    def test_stat_prints_text(self):
        status, out, _ = self.call(UNDERPASS, "stat", "-i", IFACE)
        self.assertEqual(status, 0)
        self.assertRegex(out, r"^up0: (driver|generic) mode, (copy|zero-copy), 1 queue, ")
        self.assertIn(f"(pid {self.program.pid})", out)

    def test_doctor_sees_the_broker(self):
        status, out, _ = self.call(UNDERPASS, "doctor", "-i", IFACE)
        self.assertEqual(status, 0, out)
        self.assertIn("a broker runs on up0", out)


@needs(UNDERPASS)
class Documentation(unittest.TestCase):
    """docs/operating.md cannot fall behind the code."""

    def test_operating_md_has_every_row_of_the_tables(self):
        rows = subprocess.run([UNDERPASS, "tables"], check=True, stdout=subprocess.PIPE,
                              text=True).stdout.splitlines()
        with open(os.path.join(ROOT, "docs", "operating.md"), encoding="utf-8") as file:
            text = set(file.read().splitlines())
        self.assertEqual([row for row in rows if row not in text], [])


if __name__ == "__main__":
    unittest.main()
