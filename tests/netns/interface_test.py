"""interface_test.py - the interface is changed while connections are open"""

import unittest

from lab_case import LabCase, Roles, over_roles, wait_until
from lab import sh

NEW_MAC = "02:aa:bb:cc:dd:01"


class InterfaceTest(LabCase):

    def setUp(self):
        self.port = self.lab.new_port()

    @over_roles([Roles(False, False), Roles(True, False)])
    def test_frames_have_the_new_mac_address(self, roles):
        self.serve(roles, self.server_host.python("echo_server.py", "epoll", self.port), self.port)
        host = self.client_host
        sh("ip", "-n", host.namespace, "link", "set", host.iface, "address", NEW_MAC)
        # The other host would learn of it by and by.
        sh("ip", "-n", self.server_host.namespace, "neighbour", "flush", "dev", host.iface)
        sniffer = self.background(self.server_host, self.server_host.python(
            "sniff.py", self.server_host.iface, host.address))
        wait_until(lambda: "ready" in sniffer.log() or not sniffer.alive(), "the sniffer")
        done = self.call(roles, host.python("echo_client.py", "tcp", self.server_host.address, self.port))
        self.assertIn("ok\n", done.out)
        self.assertEqual(sniffer.wait(), 0, sniffer.describe())
        self.assertEqual(sniffer.log().split(), ["ready", NEW_MAC])


if __name__ == "__main__":
    unittest.main()
