"""sockperf_test.py - sockperf's ping-pong, TCP and UDP"""

import re
import unittest

from lab_case import LabCase, over_roles


class SockperfTest(LabCase):

    def ping_pong(self, roles, protocol, *arguments):
        port = self.lab.new_port()
        where = ["-i", "0.0.0.0", "-p", port, *(["--tcp"] if protocol == "tcp" else [])]
        self.serve(roles, ["sockperf", "server", *where], port, protocol)
        where[1] = self.server_host.address
        with self.proves(roles, protocol, frames=100):
            done = self.call(roles, ["sockperf", "ping-pong", *where, "-t", 1, *arguments])
        self.assertRegex(done.out, r"percentile 50.000\s*=")
        lost = re.search(r"dropped messages = (\d+); # duplicated messages = (\d+); "
                         r"# out-of-order messages = (\d+)", done.out)
        self.assertTrue(lost, done.describe())
        self.assertEqual(lost.groups(), ("0", "0", "0"), done.describe())

    @over_roles()
    def test_tcp_ping_pong(self, roles):
        self.ping_pong(roles, "tcp", "-m", 64)

    @over_roles()
    def test_udp_ping_pong(self, roles):
        self.ping_pong(roles, "udp", "-m", 64)

    @over_roles()
    def test_udp_ping_pong_keeps_data(self, roles):
        self.ping_pong(roles, "udp", "-m", 1400, "--data-integrity")


if __name__ == "__main__":
    unittest.main()
