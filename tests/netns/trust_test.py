"""trust_test.py - programs, users and hosts that do not play by the rules: what they cannot do"""

import json
import os
import unittest

from lab_case import PYTHON, ROOT, LabCase, needs_bypass, wait_until
from lab import LIBRARY, UNDERPASS, sh

HOSTILE = os.path.join(ROOT, "build", "tests", "netns", "programs", "hostile")
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

# A broker's hello (xdp/broker_abi.h) for everybody who comes.
TAKE_NAME = """
import contextlib, socket, struct, sys
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind("\\0underpass/" + sys.argv[1])
listener.listen()
print("listening")
while True:
    client, _ = listener.accept()
    with contextlib.suppress(OSError):  # it may have left at once
        client.send(struct.pack("4I", 1, 1, 0, 0) + bytes(int(sys.argv[2]) - 16))
        if client.recv(4096):
            print("spoken to")
"""
REPLY_BYTES = 136
# On another interface of the server.
OTHER_OWN = "10.99.9.9"


@needs_bypass
class HostileClientTest(LabCase):
    """A program that the broker lets in may write the memory that they share. The broker must not
    fall over it: it is root, and serves the others."""

    with_brokers = False

    def setUp(self):
        self.host, self.peer = self.server_host, self.client_host
        self.host.start_broker()
        self.addCleanup(self.end_broker)

    def end_broker(self):
        self.host.broker.kill()
        wait_until(lambda: self.host.xdp_program_id() is None, "the XDP program to go")
        self.lab.forget(self.host.broker)

    def leave_behind(self, *arguments):
        """What the broker says when the program that wrote it has gone."""
        slot = self.host.run([HOSTILE, self.host.iface, *arguments]).out.strip()
        gone = f"slot {slot}: gone"
        broker = self.host.broker
        wait_until(lambda: gone in broker.log() or not broker.alive(), "the broker to notice")
        self.assertTrue(broker.alive(), broker.describe())
        return broker.log().rpartition(gone)[2]

    def assert_next_program_is_served(self):
        """The slot after it, from the start to the end."""
        self.leave_behind("nothing")

    def test_forged_numbers_do_not_end_the_broker(self):
        self.leave_behind("numbers")
        self.assert_next_program_is_served()

    def test_forged_notes_and_locks_do_not_end_the_broker(self):
        self.leave_behind("notes")
        self.assert_next_program_is_served()

    def test_resets_go_to_other_hosts_only(self):
        record = ["record", *self.peer.address.split(".")]
        self.assertIn("1 connection reset", self.leave_behind(*record))
        for own in (self.host.address, "127.0.0.1", "224.0.0.1", "255.255.255.255"):
            with self.subTest(own):
                self.assertIn("0 connections reset", self.leave_behind("record", *own.split(".")))


@needs_bypass
class StrangerTest(LabCase):
    """The broker's name is an abstract socket, which any user can take first."""

    with_brokers = False

    def setUp(self):
        self.host = self.server_host
        self.stranger = self.background(self.host, [
            *AS_NOBODY, PYTHON, "-u", "-c", TAKE_NAME, self.host.iface, REPLY_BYTES])
        wait_until(lambda: "listening" in self.stranger.log(), "the name to be taken")

    def test_run_refuses_a_broker_of_another_user(self):
        ran = self.host.run(["true"], bypass=True, check=False)
        self.assertEqual(ran.status, 125)
        self.assertIn("another user", ran.err)
        self.assertEqual(ran.err.count("\n"), 1)
        looked = self.host.run([UNDERPASS, "stat", "-i", self.host.iface], check=False)
        self.assertEqual(looked.status, 1)
        self.assertIn("another user", looked.err)

    def test_preloaded_program_stays_on_the_kernel(self):
        done = self.host.run(
            [PYTHON, "-c", "import socket; socket.create_server(('0.0.0.0', 0)); print('served')"],
            environment={"LD_PRELOAD": LIBRARY, "UNDERPASS_IFACE": self.host.iface,
                         "UNDERPASS_LOG_LEVEL": "info"})
        self.assertEqual(done.out, "served\n")
        self.assertIn("another user", done.err)
        self.assertNotIn("spoken to", self.stranger.log())


@needs_bypass
class MartianTest(LabCase):
    """Source addresses that no other host can have: the kernel drops what comes from them."""

    def received(self, bypass):
        """The sources of the datagrams that a server got, of one from each source."""
        port = self.lab.new_port()
        server = self.background(self.server_host, self.server_host.python("sources.py", port), bypass)
        self.server_host.wait_for_port(port, server, bypass, "udp")
        own, peer = self.server_host.address, self.client_host.address
        network = own.rpartition(".")[0]
        sources = ["127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "224.0.0.5", "239.255.1.1",
                   "255.255.255.255", own, OTHER_OWN, "240.0.0.1", f"{network}.77",
                   f"{network}.255", "198.51.100.9"]
        mac = json.loads(sh("ip", "-n", self.server_host.namespace, "-j", "link", "show",
                            self.server_host.iface))[0]["address"]
        self.client_host.run(self.client_host.python(
            "forge_sources.py", self.client_host.iface, mac, own, port, *sources, peer))
        server.wait()
        return server.log().split()

    def test_datagrams_from_nowhere_are_dropped_as_on_the_kernel(self):
        sh("ip", "-n", self.server_host.namespace, "address", "add", f"{OTHER_OWN}/32", "dev", "lo")
        # Else it would drop more, by its routes; XDP does not look at those.
        for name in ("all", self.server_host.iface):
            self.server_host.run(["sh", "-c", f"echo 0 > /proc/sys/net/ipv4/conf/{name}/rp_filter"])
        kernel = self.received(bypass=False)
        self.assertIn("198.51.100.9", kernel)
        self.assertNotIn(self.server_host.address, kernel)
        with self.lab.traffic() as traffic:
            self.assertEqual(self.received(bypass=True), kernel)
        self.assertEqual(traffic[1].steer_pass_martian, 8)
        self.assertEqual(traffic[1].udp_frames, len(kernel) + 1)


if __name__ == "__main__":
    unittest.main()
