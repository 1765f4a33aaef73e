"""interface_test.py - the interface is changed while connections are open"""

import subprocess
import unittest

from lab_case import ALL_ROLES, LabCase, Roles, over_roles, wait_until
from lab import sh

NEW_MAC = "02:aa:bb:cc:dd:01"
# MTU, and what is left of it for data: IPv4, TCP, timestamps.
MTUS = [(600, 548), (1280, 1228)]


class InterfaceTest(LabCase):

    def setUp(self):
        self.addCleanup(self.set_mtu, 1500)
        self.port = self.lab.new_port()

    def set_mtu(self, mtu):
        for host in self.lab.hosts:
            sh("ip", "-n", host.namespace, "link", "set", host.iface, "mtu", str(mtu))

    def wait_for_mtu(self, roles, mtu):
        for host in self.lab.hosts:
            if roles.of(host.index):
                wait_until(lambda: host.stat()["mtu"] == mtu, "the broker to notice")

    @over_roles(ALL_ROLES)
    def test_open_connection_follows_the_mtu(self, roles):
        self.serve(roles, self.server_host.python("echo_server.py", "epoll", self.port), self.port)
        for mtu, segment in MTUS:
            with self.subTest(mtu=mtu):
                self.set_mtu(1500)
                client = self.background(
                    self.client_host, self.client_host.python("two_bursts.py", self.server_host.address,
                                                              self.port),
                    roles.client, stdin=subprocess.PIPE)
                wait_until(lambda: "first" in client.log() or not client.alive(), "the first burst")
                self.set_mtu(mtu)
                self.wait_for_mtu(roles, mtu)
                with self.proves(roles, frames=100):
                    client.popen.stdin.write(b"\n")
                    client.popen.stdin.close()
                    self.assertEqual(client.wait(), 0, client.describe())
                self.assertIn(f"second {segment}", client.log())

    @over_roles([Roles(False, False), Roles(True, False)])
    def test_frames_have_the_new_mac_address(self, roles):
        self.serve(roles, self.server_host.python("echo_server.py", "epoll", self.port), self.port)
        host = self.client_host
        sh("ip", "-n", host.namespace, "link", "set", host.iface, "address", NEW_MAC)
        # The other host would learn of it by and by.
        self.server_host.forget_neighbours()
        sniffer = self.background(self.server_host, self.server_host.python(
            "sniff.py", self.server_host.iface, host.address))
        wait_until(lambda: "ready" in sniffer.log() or not sniffer.alive(), "the sniffer")
        done = self.call(roles, host.python("echo_client.py", "tcp", self.server_host.address, self.port))
        self.assertIn("ok\n", done.out)
        self.assertEqual(sniffer.wait(), 0, sniffer.describe())
        self.assertEqual(sniffer.log().split(), ["ready", NEW_MAC])


if __name__ == "__main__":
    unittest.main()
