"""exit_test.py - what a program has sent before it ends arrives, however it ends, and then the FIN"""

import subprocess
import unittest

from lab_case import LabCase, Roles, over_roles, wait_until

ROLES = (Roles(False, False), Roles(True, False))
STATUS = 7


class ExitTest(LabCase):

    def leave(self, roles, how, count=400_000, piece=16384, pause_ms=5):
        """Runs the leaver against a sink; returns what the sink says of the end."""
        port = self.lab.new_port()
        host = self.server_host
        sink = self.background(host, host.python("sink.py", port, piece, pause_ms),
                               stdin=subprocess.PIPE)
        host.wait_for_port(port, sink)
        with self.lab.traffic() as traffic:
            done = self.call(roles, self.client_host.python("leaver.py", host.address, port, count,
                                                            *how), check=False)
            self.assertEqual(done.status, STATUS, done.describe())
            # The kernel sees to the rest, and the program does not wait for it.
            self.assertNotIn("then", sink.log())
            wait_until(lambda: "then" in sink.log() or not sink.alive(), "the end of the connection")
        if roles.client:
            self.assertGreater(traffic[0].tcp_frames, 0, traffic[0].describe())
            self.assertGreater(traffic[0].kernel_tcp, 0, traffic[0].describe())
            wait_until(lambda: self.client_host.stat()["clients"] == [], "the broker to notice")
        sink.popen.stdin.close()
        self.assertEqual(sink.wait(), 0, sink.describe())
        return sink.log().splitlines()

    def check(self, roles, *how, count=400_000, **more):
        self.assertEqual(self.leave(roles, how, count, **more),
                         [f"{count} right, then EOF", "SO_ERROR 0"])

    @over_roles(ROLES)
    def test_exit_after_close(self, roles):
        self.check(roles, "exit")

    @over_roles(ROLES)
    def test_exit_with_an_open_connection(self, roles):
        self.check(roles, "exit", "open")

    @over_roles(ROLES)
    def test_underscore_exit_after_close(self, roles):
        self.check(roles, "_exit")

    @over_roles(ROLES)
    def test_underscore_exit_with_an_open_connection(self, roles):
        self.check(roles, "_exit", "open")

    @over_roles(ROLES)
    def test_capital_exit_with_an_open_connection(self, roles):
        self.check(roles, "_Exit", "open")

    @over_roles(ROLES)
    def test_quick_exit_with_an_open_connection(self, roles):
        self.check(roles, "quick_exit", "open")

    @over_roles(ROLES)
    def test_a_slow_reader_has_all_the_time(self, roles):
        """This one takes three seconds."""
        self.check(roles, "_exit", count=900_000, piece=6000, pause_ms=20)

    @over_roles((Roles(True, False),))
    def test_without_a_broker_the_program_waits_for_its_peer(self, roles):
        """There is nobody who could give the connection to the kernel."""
        port = self.lab.new_port()
        host = self.server_host
        sink = self.background(host, host.python("sink.py", port, 16384, 5), stdin=subprocess.PIPE)
        host.wait_for_port(port, sink)
        leaver = self.background(self.client_host, self.client_host.python(
            "leaver.py", host.address, port, 400_000, "exit", "line"), roles.client,
            stdin=subprocess.PIPE)
        wait_until(lambda: "sent" in leaver.log(), "the leaver")
        self.client_host.broker.kill()
        leaver.popen.stdin.close()
        self.assertEqual(leaver.wait(), STATUS, leaver.describe())
        wait_until(lambda: "400000 right, then EOF" in sink.log(), "the end of the connection")
        self.client_host.start_broker()


if __name__ == "__main__":
    unittest.main()
