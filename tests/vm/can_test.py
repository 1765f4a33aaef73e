"""can_test.py - SocketCAN over vcan under Underpass: every call goes straight to the kernel"""

import os
import unittest

from vm_case import BOTH, BUILD, KERNEL, LabCase, needs_vm, own_program, sh, wait_until

BUS = "vcan0"


@needs_vm
class CanTest(LabCase):
    """The bus is on the server's host."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        namespace = cls.server_host.namespace
        # 72: the MTU of CAN FD.
        sh("ip", "-n", namespace, "link", "add", BUS, "mtu", "72", "type", "vcan")
        sh("ip", "-n", namespace, "link", "set", BUS, "up")

    def dump(self, bypass, frames):
        """A candump that has joined the bus, and ends after so many frames."""
        process = self.background(self.server_host, ["candump", "-n", frames, BUS], bypass)

        def joined():
            self.assertTrue(process.alive(), process.describe())
            # A bus without receivers is in there too: "(vcan0: no entry)".
            table = self.server_host.run(["cat", "/proc/net/can/rcvlist_all"]).out
            return any(line.split()[:1] == [BUS] for line in table.splitlines())
        wait_until(joined, "candump to join the bus")
        return process

    def test_cansend_and_candump(self):
        for bypass in (False, True):
            dump = self.dump(bypass, 3)
            for frame in ("123#DEADBEEF", "1F334455#1122334455667788", "321##1" + "AB" * 12):
                self.server_host.run(["cansend", BUS, frame], bypass=bypass)
            self.assertEqual(dump.wait(), 0, dump.describe())
            self.assertEqual([line.split() for line in dump.log().splitlines()],
                             [[BUS, "123", "[4]", "DE", "AD", "BE", "EF"],
                              [BUS, "1F334455", "[8]", "11", "22", "33", "44", "55", "66", "77", "88"],
                              [BUS, "321", "[12]", *["AB"] * 12]])

    def test_python_sees_what_it_sees_on_the_kernel(self):
        on_kernel, on_bypass = (
            self.server_host.run(own_program("can_calls.py", BUS), bypass=bypass).out.splitlines()
            for bypass in (False, True))
        self.assertEqual((on_kernel.pop(), on_bypass.pop()), ("preloaded: False", "preloaded: True"))
        self.assertEqual(on_bypass, on_kernel)
        # So that not everything has failed alike.
        self.assertIn("receive: 2301000004000000deadbeef00000000", on_kernel)
        self.assertIn("CAN FD: 72", on_kernel)

    def socket_class(self, interface, *arguments):
        return [os.path.join(BUILD, "tests", "socket", "programs", "can"), interface, *arguments]

    def test_the_socket_class_sends_and_receives(self):
        for interface in ("-", self.server_host.iface):
            dump = self.dump(False, 3)
            receiver = self.background(self.server_host, self.socket_class(interface, BUS, "receive"),
                                       name="receiver")
            wait_until(lambda: "joined" in receiver.log(), "the receiver")
            self.server_host.run(self.socket_class(interface, BUS, "send"))
            self.assertEqual(receiver.wait(), 0, receiver.describe())
            self.assertEqual(receiver.log().splitlines(), [
                "joined",
                f"16 bytes from {BUS}: 123 de ad be ef",
                f"16 bytes from {BUS}: 9f334455 11",
                f"72 bytes from {BUS}: 321" + " ab" * 12])
            self.assertEqual(dump.wait(), 0, dump.describe())
            self.assertEqual([line.split()[1] for line in dump.log().splitlines()],
                             ["123", "1F334455", "321"])

    def gateway(self, roles):
        lines = 40
        answerer = self.background(self.server_host, own_program("can_answerer.py", BUS))
        wait_until(lambda: "ready" in answerer.log(), "the answerer")
        port = self.lab.new_port()
        self.serve(roles, own_program("can_gateway.py", port, BUS), port, stop=False)
        with self.proves(roles, frames=lines):
            done = self.call(roles, own_program("can_client.py", self.server_host.address, port, lines))
        self.assertEqual(done.out, "ok\n")

    def test_one_epoll_set_on_the_kernel(self):
        self.gateway(KERNEL)

    def test_one_epoll_set_with_bypassed_connections(self):
        self.gateway(BOTH)


if __name__ == "__main__":
    unittest.main()
