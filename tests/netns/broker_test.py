"""broker_test.py - underpassd by itself: who may have one, who is let in, how long it stays"""

import json
import os
import shutil
import subprocess
import unittest

from lab_case import LabCase, needs_bypass, wait_until
from lab import BROKER, LIBRARY, UNDERPASS, sh

NOBODY = 65534
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


@needs_bypass
class BrokerTest(LabCase):

    with_brokers = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Where every user reaches them.
        for path in (UNDERPASS, BROKER, LIBRARY):
            shutil.copy(path, cls.lab.directory)
        cls.underpass_path = os.path.join(cls.lab.directory, "underpass")

    def setUp(self):
        self.host, self.peer = self.server_host, self.client_host
        self.addCleanup(wait_until, lambda: self.host.xdp_program_id() is None, "the program to go")

    def broker(self, *options, ready=True):
        """Starts one; returns the process and the line that it says."""
        read_end, write_end = os.pipe()
        with open(read_end, encoding="utf-8") as answer:
            process = self.background(self.host, [BROKER, "-i", self.host.iface, "--ready-fd", write_end,
                                                  *options], pass_fds=[write_end])
            os.close(write_end)
            line = answer.readline().rstrip("\n")
        if ready:
            self.assertEqual(line, "ok", process.describe())
        return process, line

    def test_bad_usage_is_one_line_and_status_2(self):
        for arguments in ([], ["-i"], ["-i", "x", "--no-such"]):
            done = self.host.run([BROKER, *arguments], check=False)
            self.assertEqual((done.status, len(done.err.splitlines())), (2, 1), done.err)

    def underpass(self, *arguments, prefix=()):
        return self.host.run([*prefix, self.underpass_path, *arguments], check=False)

    def run_true(self, prefix=()):
        return self.underpass("run", "-i", self.host.iface, "--", "true", prefix=prefix)

    def test_second_broker_is_refused(self):
        self.broker("--stay")
        second, line = self.broker(ready=False)
        self.assertIn("runs already", line)
        self.assertEqual(second.wait(), 1)

    def test_two_started_at_once_are_one(self):
        brokers = [subprocess.Popen([*self.host.argv([BROKER]), "-i", self.host.iface],
                                    stderr=subprocess.PIPE, text=True) for _ in range(4)]
        ends = sorted(process.wait(60) for process in brokers)
        lines = "".join(process.communicate()[1] for process in brokers)
        self.assertEqual(ends, [0, 1, 1, 1], lines)

    def test_broker_without_a_client_ends_by_itself(self):
        process, _ = self.broker()
        self.assertEqual(process.wait(), 0)
        self.assertIsNone(self.host.xdp_program_id())

    def test_who_only_looks_does_not_keep_it(self):
        process, _ = self.broker()
        wait_until(lambda: self.host.stat() is None, "the broker to end although it is asked")
        self.assertEqual(process.wait(), 0)

    def test_sigterm_ends_it_and_leaves_nothing(self):
        process, _ = self.broker("--stay")
        self.assertEqual(process.stop(), 0)
        self.assertIsNone(self.host.xdp_program_id())

    def test_other_users_are_not_let_in(self):
        self.broker("--stay")
        looked = self.underpass("stat", "-i", self.host.iface, prefix=AS_NOBODY)
        self.assertEqual(looked.status, 1)
        self.assertIn("Permission denied", looked.err)
        ran = self.run_true(AS_NOBODY)
        self.assertEqual(ran.status, 125)
        self.assertIn("does not let us in (Permission denied)", ran.err)

    def test_allowed_user_is_let_in_by_name_or_number(self):
        for user in ("nobody", str(NOBODY)):
            with self.subTest(user):
                process, _ = self.broker("--stay", "--allow", user)
                self.assertEqual(self.run_true(AS_NOBODY).status, 0)
                process.stop()

    def test_allowed_user_without_rights_talks_over_bypass(self):
        self.broker("--stay", "--allow", "nobody")
        port = self.lab.new_port()
        server = self.background(
            self.host, [*AS_NOBODY, self.underpass_path, "run", "-i", self.host.iface, "--",
                        *self.host.python("echo_server.py", "epoll", port)])
        self.host.wait_for_port(port, server, bypass=True)
        with self.lab.traffic() as traffic:
            self.peer.run(self.peer.python("echo_client.py", "tcp", self.host.address, port))
        self.assertGreater(traffic[self.host.index].tcp_frames, 50)

    def test_unknown_user_is_refused(self):
        process, line = self.broker("--allow", "no-such-user", ready=False)
        self.assertIn("no-such-user", line)
        self.assertEqual(process.wait(), 1)

    def test_missing_interface_is_named(self):
        done = self.host.run([BROKER, "-i", "nosuch0"], check=False)
        self.assertEqual(done.status, 1)
        self.assertIn("there is no interface nosuch0", done.err)

    def test_without_rights_it_says_what_it_may_not(self):
        done = self.host.run([*AS_NOBODY, self.underpass_path + "d", "-i", self.host.iface], check=False)
        self.assertEqual(done.status, 1)
        self.assertEqual(done.err.count("underpassd:"), 1, done.err)
        self.assertIn("Operation not permitted", done.err)

    def test_generic_mode_works_too(self):
        """With little data: the kernel of the other end of a veth pair does not cut large segments for a
        generic program, and real interfaces, which have no such peer, do not put them together."""
        self.broker("--stay", "--generic")
        self.assertEqual(self.host.stat()["mode"], "generic")
        port = self.lab.new_port()
        server = self.background(self.host, self.host.python("echo_server.py", "epoll", port),
                                 bypass=True)
        self.host.wait_for_port(port, server, bypass=True)
        with self.lab.traffic() as traffic:
            self.peer.run(self.peer.python("echo_client.py", "tcp", self.host.address, port, 10, 1000))
        self.assertGreater(traffic[self.host.index].tcp_frames, 30)

    def test_thirty_three_programs_and_the_last_runs_on_the_kernel(self):
        self.broker("--stay")
        port = self.lab.new_port()
        servers = [self.background(self.host, self.host.python("echo_server.py", "udp", port + i),
                                   bypass=True) for i in range(33)]
        for i, server in enumerate(servers):
            self.host.wait_for_port(port + i, server, protocol="udp")
        clients = wait_until(lambda: len(self.host.stat()["clients"]) == 32 and self.host.stat(),
                             "32 slots to be taken")["clients"]
        self.assertEqual(len({one["slot"] for one in clients}), 32)
        for i in range(33):
            done = self.peer.run(self.peer.python("echo_client.py", "udp", self.host.address, port + i))
            self.assertIn("ok\n", done.out)

    def test_address_that_is_added_is_served_and_one_that_is_removed_is_not(self):
        self.broker("--stay")
        port = self.lab.new_port()
        server = self.background(self.host, self.host.python("echo_server.py", "epoll", port),
                                 bypass=True)
        self.host.wait_for_port(port, server, bypass=True)
        extra = self.host.address.rpartition(".")[0] + ".200"
        sh("ip", "-n", self.host.namespace, "address", "add", f"{extra}/24", "dev", self.host.iface)
        with self.lab.traffic() as traffic:
            self.peer.run(self.peer.python("echo_client.py", "tcp", extra, port))
        self.assertGreater(traffic[self.host.index].tcp_frames, 50)
        sh("ip", "-n", self.host.namespace, "address", "del", f"{extra}/24", "dev", self.host.iface)
        with self.lab.traffic() as traffic:
            self.peer.run(["ping", "-c", "1", "-W", "1", extra], check=False)
            self.peer.run(["timeout", "1", *self.peer.python("echo_client.py", "tcp", extra, port)],
                          check=False)
        self.assertEqual(traffic[self.host.index].tcp_frames, 0)

    def test_neighbour_in_use_is_kept_and_a_flushed_one_is_found_again(self):
        self.broker("--stay")
        port = self.lab.new_port()
        server = self.background(self.peer, self.peer.python("echo_server.py", "epoll", port))
        self.peer.wait_for_port(port, server)
        for _ in range(3):
            self.host.forget_neighbours()
            done = self.host.run(self.host.python("echo_client.py", "tcp", self.peer.address, port),
                                 bypass=True)
            self.assertIn("ok\n", done.out)
        table = json.loads(sh("ip", "-n", self.host.namespace, "-j", "neighbour", "show"))
        self.assertIn(self.peer.address, [one["dst"] for one in table if "lladdr" in one])

    def test_removed_interface_ends_the_broker(self):
        names = ["upx0", "upx1"]
        sh("ip", "-n", self.host.namespace, "link", "add", names[0], "type", "veth", "peer", names[1])
        for name in names:
            sh("ip", "-n", self.host.namespace, "link", "set", name, "up")
        process = self.background(self.host, [BROKER, "-i", names[0], "--stay"])
        wait_until(lambda: "serving" in process.log() or not process.alive(), "the broker")
        sh("ip", "-n", self.host.namespace, "link", "del", names[0])
        self.assertEqual(process.wait(), 0, process.describe())


if __name__ == "__main__":
    unittest.main()
