"""trust_test.py - programs, users and hosts that do not play by the rules: what they cannot do"""

import os
import unittest

from lab_case import ROOT, LabCase, needs_bypass, wait_until

HOSTILE = os.path.join(ROOT, "build", "tests", "netns", "programs", "hostile")


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


if __name__ == "__main__":
    unittest.main()
