"""netem_test.py - whole transfers over a wire that loses, delays and reorders frames

Between the hosts is a bridge in a namespace of its own, and netem on its two ports: on a host's own
interface it would not see what leaves through AF_XDP.
"""

import hashlib
import json
import os
import unittest

from vm_case import BOTH, PYTHON, TO_BYPASS, Lab, LabCase, needs_vm, sh

TRANSFER_BYTES = 512 << 10
PORTS = ["to-a", "to-b"]


class NetemLab(Lab):

    def make_link(self, _queues):
        self.middle = self.hosts[0].namespace[:-1] + "m"
        sh("ip", "netns", "add", self.middle)
        self.inside("ip", "link", "add", "bridge", "type", "bridge")
        self.inside("ip", "link", "set", "bridge", "up")
        for host, port in zip(self.hosts, PORTS):
            self.inside("ip", "link", "add", port, "type", "veth", "peer", host.iface, "netns",
                        host.namespace)
            self.inside("ip", "link", "set", port, "master", "bridge", "up")

    def inside(self, *argv):
        return sh("ip", "netns", "exec", self.middle, *argv)

    def set_wire(self, *properties):
        for port in PORTS:
            # Another kind in between: a netem would only be changed, and go on counting.
            for kind in (["pfifo"], ["netem", "limit", "10000", *properties]):
                self.inside("tc", "qdisc", "replace", "dev", port, "root", *kind)

    def netem(self, port):
        """Its counters since set_wire()."""
        return json.loads(self.inside("tc", "-s", "-j", "qdisc", "show", "dev", port))[0]

    def remove(self):
        super().remove()
        if os.path.exists(f"/var/run/netns/{self.middle}"):
            sh("ip", "netns", "delete", self.middle)


@needs_vm
class NetemTest(LabCase):

    lab_type = NetemLab

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        data = os.urandom(TRANSFER_BYTES)
        cls.digest = hashlib.sha256(data).hexdigest()
        cls.lab.write("file", data)

    def fetch(self, roles):
        port = self.lab.new_port()
        self.serve(roles, [PYTHON, "-u", "-m", "http.server", "--bind", "0.0.0.0", "--directory",
                           self.lab.directory, port], port, stop=False)
        path = self.lab.new_file("fetched")
        with self.proves(roles, frames=20):
            self.call(roles, ["curl", "-sS", "--fail", "-o", path,
                              f"http://{self.server_host.address}:{port}/file"])
        with open(path, "rb") as file:
            self.assertEqual(hashlib.sha256(file.read()).hexdigest(), self.digest)

    def transfer(self, roles, *arguments):
        port = self.lab.new_port()
        server = self.serve(roles, ["iperf3", "-s", "-4", "-1", "-p", port], port, stop=False)
        with self.proves(roles, frames=20):
            done = self.call(roles, ["iperf3", "-c", self.server_host.address, "-p", port, "-J", "-n",
                                     TRANSFER_BYTES, *arguments])
        report = json.loads(done.out)
        self.assertNotIn("error", report, done.describe())
        self.assertGreaterEqual(report["end"]["sum_sent"]["bytes"], TRANSFER_BYTES)
        self.assertEqual(server.wait(), 0, server.describe())

    def setUp(self):
        self.addCleanup(self.assert_netem_had_frames)

    def assert_netem_had_frames(self):
        for port in PORTS:
            self.assertGreater(self.lab.netem(port)["packets"], 50)

    def test_loss(self):
        self.lab.set_wire("loss", "1%")
        self.fetch(BOTH)
        self.transfer(BOTH, "-R")
        # A thousand frames have passed.
        self.assertGreater(sum(self.lab.netem(port)["drops"] for port in PORTS), 0)

    def test_delay(self):
        self.lab.set_wire("delay", "20ms", "5ms")
        self.fetch(BOTH)
        self.transfer(BOTH)

    def test_reordering(self):
        self.lab.set_wire("delay", "10ms", "reorder", "25%", "50%")
        self.fetch(BOTH)
        self.transfer(BOTH, "-R")

    def test_all_of_it_from_a_bypassed_server(self):
        self.lab.set_wire("delay", "10ms", "3ms", "reorder", "10%", "loss", "1%", "duplicate", "1%")
        self.fetch(TO_BYPASS)


if __name__ == "__main__":
    unittest.main()
