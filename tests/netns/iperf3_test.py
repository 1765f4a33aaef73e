"""iperf3_test.py - iperf3, TCP and UDP, both directions"""

import json
import unittest

from lab_case import LabCase, over_roles

TCP_BYTES = 50 << 20
UDP_BYTES = 2 << 20
# What a stream's send and receive buffers hold at most (net.ipv4.tcp_wmem and tcp_rmem).
STREAM_BUFFER_BYTES = (4 << 20) + (6 << 20)


class Iperf3Test(LabCase):

    def measure(self, roles, protocol, frames, *arguments):
        port = self.lab.new_port()
        # The control connection is TCP in either case, and the server ends with its one client.
        server = self.serve(roles, ["iperf3", "-s", "-4", "-1", "-p", port], port, stop=False)
        with self.proves(roles, protocol, frames):
            done = self.call(roles, ["iperf3", "-c", self.server_host.address, "-p", port, "-J",
                                     *arguments])
        report = json.loads(done.out)
        self.assertNotIn("error", report, done.describe())
        self.assertEqual(server.wait(), 0, server.describe())
        return report["end"]

    def transfer(self, roles, *arguments, streams=1):
        # Few acknowledgements come back: the kernel's GRO makes one of many segments.
        end = self.measure(roles, "tcp", 100, "-n", TCP_BYTES, "-P", streams, *arguments)
        self.assertGreaterEqual(end["sum_sent"]["bytes"], TCP_BYTES)
        # iperf3 stops counting when the sender says that it has ended: what is in buffers then is not counted.
        self.assertGreaterEqual(end["sum_received"]["bytes"],
                                TCP_BYTES - streams * STREAM_BUFFER_BYTES)

    def datagrams(self, roles, *arguments):
        # 100 Mbit/s: neither side is near its limit.
        end = self.measure(roles, "tcp", 10, "-u", "-b", "100M", "-l", 1400, "-n", UDP_BYTES,
                           *arguments)
        self.assertGreaterEqual(end["sum"]["packets"], UDP_BYTES // 1400)
        self.assertLess(end["sum"]["lost_packets"], end["sum"]["packets"] / 10, end["sum"])

    @over_roles()
    def test_tcp_to_the_server(self, roles):
        self.transfer(roles)

    @over_roles()
    def test_tcp_from_the_server(self, roles):
        self.transfer(roles, "-R")

    @over_roles()
    def test_tcp_with_four_streams(self, roles):
        self.transfer(roles, streams=4)

    @over_roles()
    def test_udp_to_the_server(self, roles):
        self.datagrams(roles)

    @over_roles()
    def test_udp_from_the_server(self, roles):
        self.datagrams(roles, "-R")


if __name__ == "__main__":
    unittest.main()
