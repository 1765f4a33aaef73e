"""socket_test.py - the Socket class over veth: every scenario with an interface and without, the
same transcript; and programs outside the tree

The scenarios (tests/socket/*_scenarios.cpp) run in a program that is linked with libunderpass-socket, on
one host; their peer is a program on the kernel's sockets, on the other. With the interface named, the
counters of the XDP program and of the kernel's TCP must say that the kernel was bypassed.
"""

import difflib
import os
import select
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "netns"))

from lab_case import PYTHON, LabCase  # noqa: E402  (the path comes first)
from lab import BUILD  # noqa: E402

PROGRAMS = os.path.join(BUILD, "tests", "socket", "programs")
SCENARIOS = os.path.join(PROGRAMS, "scenarios")
SCRIPT_PORT = 7001
ECHO6_PORT = 7004
# Only a hang reaches it.
SCENARIO_LIMIT_S = 30
END = "== end"
# Of two connections at a time: how much came before the end, and of what.
SINK = """
import socket, sys, threading
def drain(connection):
    data = b""
    while piece := connection.recv(65536):
        data += piece
    print(f"{len(data)}{data[:1].decode()}\\n", end="", flush=True)
listener = socket.create_server(("", int(sys.argv[1])))
for _ in range(2):
    threading.Thread(target=drain, args=listener.accept()[:1]).start()
"""
# Segments that belong to no socket of the stack any more are answered by the kernel's TCP.
KERNEL_SLACK = 60


def is_built():
    return os.path.exists(SCENARIOS)


def scenarios():
    """(name, proof) of each."""
    if not is_built():
        return []
    done = subprocess.run([SCENARIOS, "list"], check=True, stdout=subprocess.PIPE, text=True)
    return [line.split() for line in done.stdout.splitlines()]


class Session:
    """The program with the scenarios; started again when one has ended it."""

    def __init__(self, host, interface):
        self.host, self.interface = host, interface
        self.process = None

    def start(self):
        argv = [SCENARIOS, self.host.address, self.host.peer.address, self.host.peer.address6]
        self.process = self.host.popen(argv + ([self.host.iface] if self.interface else []),
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        # A scenario that nobody knows: when it ends, the program is attached.
        self.run("nothing")

    def stop(self):
        if self.process is None:
            return
        self.process.end()
        self.process = None

    def run(self, name):
        """The transcript's lines. A program that hangs or dies says so in the last one."""
        if self.process is None:
            self.start()
        lines = []
        try:
            self.process.popen.stdin.write(f"{name}\n".encode())
            self.process.popen.stdin.flush()
            self.read_to_end(lines)
        except (BrokenPipeError, EOFError):
            lines.append(f"the program ended: status {self.process.popen.wait()}")
        except TimeoutError:
            lines.append("the program hangs")
        if not lines or lines[-1] != END:
            self.stop()
        return lines

    def read_to_end(self, lines):
        stdout = self.process.popen.stdout.fileno()
        text = b""
        while END not in lines:
            if not select.select([stdout], [], [], SCENARIO_LIMIT_S)[0]:
                raise TimeoutError
            got = os.read(stdout, 65536)
            if not got:
                raise EOFError
            text += got
            *complete, text = text.split(b"\n")
            lines += (line.decode(errors="replace") for line in complete)


@unittest.skipUnless(is_built(), "the scenarios are not built: run `make`")
class ScenariosTest(LabCase):
    """A test for each scenario."""

    sessions = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # So that every datagram to a closed port is answered (icmp(7)).
        cls.server_host.run(["sh", "-c", "echo 0 >/proc/sys/net/ipv4/icmp_ratelimit"])
        peer = cls.server_host.popen([os.path.join(PROGRAMS, "peer"), cls.server_host.address])
        cls.server_host.wait_for_port(SCRIPT_PORT, peer)
        for kind in ("poll", "udp"):
            server = cls.server_host.popen(cls.server_host.python("echo_server.py", kind, ECHO6_PORT, "::"))
            cls.server_host.wait_for_port(ECHO6_PORT, server, protocol="udp" if kind == "udp" else "tcp")

    def counters(self):
        steer = self.client_host.steer() or {}
        kernel = self.client_host.kernel_counters()["Tcp"]
        return {"tcp": steer.get("tcp_frames", 0), "udp": steer.get("udp_frames", 0),
                "raw": steer.get("raw_frames", 0), "kernel": kernel["InSegs"] + kernel["OutSegs"]}

    def session(self, interface):
        """One program of each kind for all scenarios."""
        if interface not in self.sessions:
            self.sessions[interface] = Session(self.client_host, interface)
            self.addClassCleanup(self.sessions[interface].stop)
        return self.sessions[interface]

    def compare(self, name, proof):
        kernel, bypassed = self.session(interface=False), self.session(interface=True)
        expected = kernel.run(name)
        self.assertEqual(expected[-1], END, f"{name} on the kernel: {expected}")
        if bypassed.process is None:
            bypassed.start()
        before = self.counters()
        lines = bypassed.run(name)
        after = self.counters()
        diff = difflib.unified_diff(expected, lines, "kernel", "bypass", lineterm="", n=12)
        self.assertEqual(lines, expected, "\n".join([name, *diff]))
        self.check_proof(proof, {key: after[key] - before[key] for key in after})

    def check_proof(self, proof, counts):
        if proof != "none":
            self.assertGreater(counts[proof], 0, counts)
        if proof == "tcp":
            self.assertLessEqual(counts["kernel"], KERNEL_SLACK, counts)

    def test_without_an_interface_nothing_is_bypassed(self):
        before = self.counters()
        self.assertEqual(self.session(interface=False).run("hello_and_close")[-1], END)
        self.assertEqual(self.counters()["tcp"], before["tcp"])


    def test_what_was_sent_arrives_when_the_program_ends(self):
        """With sockets that are still open: one of main()'s, one that is static."""
        client, server = self.client_host, self.server_host
        for way in ("exit", "return"):
            with self.subTest(way=way):
                port = self.lab.new_port()
                sink = self.background(server, [PYTHON, "-c", SINK, port])
                server.wait_for_port(port, sink)
                client.run([os.path.join(PROGRAMS, "leaver"), client.iface, server.address, port, way])
                self.assertEqual(sink.wait(), 0)
                self.assertEqual(sorted(sink.log().split()), ["3000000l", "3000000s"])


def add_test(name, proof):
    def test(self):
        self.compare(name, proof)
    setattr(ScenariosTest, f"test_{name}", test)


for scenario in scenarios():
    add_test(*scenario)


if __name__ == "__main__":
    unittest.main()
