"""transcript_test.py - every scenario on the kernel and on bypass; the transcripts must be the same

The programs (connections.cpp and its siblings) run scenarios and print a line for each call; their peer runs
on the other host. What is compared with is the run with both on the kernel, in the same lab. While a bypassed
program runs a scenario, the counters of the XDP program and of the kernel's TCP must say that it was bypassed.
TRANSCRIPTS=name,name in the environment limits the scenarios, for work on one of them.
"""

import difflib
import ipaddress
import os
import select
import socket
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "netns"))

from lab_case import ALL_ROLES, BYPASS, KERNEL, LabCase, over_roles  # noqa: E402  (the path comes first)
from lab import BUILD  # noqa: E402

PROGRAMS = os.path.join(BUILD, "tests", "preload")
# Only a hang reaches it.
SCENARIO_LIMIT_S = 30
END = "== end"
# Segments that belong to no socket of the stack any more are answered by the kernel's TCP.
KERNEL_SLACK = 40
# Of another family than IPv4: what differs is in the program, and the way between the two.
CLIENT = (BYPASS[0],)
EITHER = (BYPASS[0], BYPASS[2])
# What bypass cannot do yet, as docs/compatibility.md says: run on the kernel only.
KNOWN_DIFFERENCES = {}


# What a program's and its peer's addresses are (names.h). Mapped: IPv4 through an AF_INET6 socket, which
# on "::" has both; the peer is of IPv4.
FAMILIES = {
    "v4": lambda host: (host.address, host.peer.address),
    "v6": lambda host: (host.address6, host.peer.address6),
    "link_local": lambda host: (host.link_local, host.peer.link_local.replace(host.peer.iface, host.iface)),
    "mapped": lambda host: ("::ffff:" + host.address, "::ffff:" + host.peer.address),
}
# So that a call that waits is met spinning, not asleep.
OPTIONS = {"signals": ("--spin-us", "1000000")}


class Session:
    """One program and its peer, in their roles; started again when a scenario has ended it."""

    def __init__(self, case, program, roles, family):
        self.case, self.program, self.roles, self.family = case, program, roles, family
        self.options = OPTIONS.get(program, ()) if roles.client else ()
        self.processes = []

    def start(self):
        ours, theirs = socket.socketpair()
        client, server = self.case.lab.hosts
        with ours, theirs:
            for host, name, end, bypass in ((server, "peer", theirs, self.roles.server),
                                            (client, self.program, ours, self.roles.client)):
                family = "v4" if name == "peer" and self.family == "mapped" else self.family
                argv = [os.path.join(PROGRAMS, name), end.fileno(), *FAMILIES[family](host)]
                self.processes.append(host.popen(
                    argv, bypass=bypass, options=self.options if name == self.program else (),
                    name=name, pass_fds=[end.fileno()], stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE))
        self.peer, self.scenarios = self.processes
        # A scenario that nobody knows: when it ends, both are where they belong.
        self.tell("nothing")
        self.read_to_end([])

    def stop(self):
        for process in self.processes:
            process.end()
        self.processes = []

    def run(self, name):
        """The scenario's lines. A program that hangs or dies says so in the last one."""
        if not self.processes:
            self.start()
        lines = []
        try:
            self.tell(name)
            self.read_to_end(lines)
        except (BrokenPipeError, EOFError):
            lines.append(f"the program ended: status {self.scenarios.popen.wait()}")
        except TimeoutError:
            lines.append("the program hangs")
        if not lines or lines[-1] != END:
            self.stop()
        return lines

    def tell(self, name):
        self.scenarios.popen.stdin.write(f"{name}\n".encode())
        self.scenarios.popen.stdin.flush()

    def read_to_end(self, lines):
        stdout = self.scenarios.popen.stdout.fileno()
        text = b""
        while True:
            if not select.select([stdout], [], [], SCENARIO_LIMIT_S)[0]:
                raise TimeoutError
            got = os.read(stdout, 65536)
            text += got
            *complete, text = text.split(b"\n")
            lines += (line.decode(errors="replace") for line in complete)
            if END in lines:
                return
            if not got:
                raise EOFError

    def kernel_tcp(self):
        """Segments that the kernel's TCP of the scenario's host has seen."""
        with open(f"/proc/{self.scenarios.pid}/net/snmp", encoding="ascii") as file:
            names, values = (line.split() for line in file if line.startswith("Tcp:"))
        table = dict(zip(names[1:], map(int, values[1:])))
        return table["InSegs"] + table["OutSegs"]

    def counters(self):
        if not self.processes:
            self.start()
        steer = self.case.client_host.steer() or {}
        return {"tcp": steer.get("tcp_frames", 0), "udp": steer.get("udp_frames", 0),
                "kernel": self.kernel_tcp()}


class TranscriptTest(LabCase):
    """One test a program and role, one sub-test a scenario."""

    references = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # So that every datagram to a closed port is answered (icmp(7)).
        for name in ("ipv4/icmp_ratelimit", "ipv6/icmp/ratelimit"):
            for host in (cls.server_host, cls.client_host):
                host.run(["sh", "-c", f"echo 0 >/proc/sys/net/{name}"])
        # How long it takes until a host is known not to be there (nobody() in scenario.h): three times this.
        for family in ("ipv4", "ipv6"):
            path = f"/proc/sys/net/{family}/neigh/{cls.client_host.iface}/retrans_time_ms"
            cls.client_host.run(["sh", "-c", f"echo 300 >{path}"])
        # second_of() in names.h. Of IPv6 the kernel would send from it, were it as good as the first.
        link_local = ipaddress.ip_address(cls.client_host.link_local.partition("%")[0])
        for second in ([cls.client_host.address.rpartition(".")[0] + ".250/24"],
                       [cls.client_host.address6.rpartition(":")[0] + ":fa/64", "preferred_lft", "0"],
                       [f"{ipaddress.ip_address(int(link_local) & ~0xff | 0xfa)}/64", "preferred_lft", "0"]):
            cls.client_host.run(["ip", "address", "add", *second, "dev", cls.client_host.iface])

    def scenarios_of(self, program):
        done = subprocess.run([os.path.join(PROGRAMS, program), "list"], check=True,
                              stdout=subprocess.PIPE, text=True)
        pairs = [line.split() for line in done.stdout.splitlines()]
        wanted = os.environ.get("TRANSCRIPTS")
        return [(name, proof) for name, proof in pairs if wanted is None or name in wanted.split(",")]

    def reference(self, program, family):
        if (program, family) not in self.references:
            session = Session(self, program, KERNEL, family)
            try:
                self.references[program, family] = {name: session.run(name)
                                                    for name, _ in self.scenarios_of(program)}
            finally:
                session.stop()
        return self.references[program, family]

    def compare(self, program, roles, family):
        if not os.path.exists(os.path.join(PROGRAMS, program)):
            self.skipTest(f"{program} is not built: run `make`")
        reference = self.reference(program, family)
        session = Session(self, program, roles, family)
        self.addCleanup(session.stop)
        before = session.counters()
        for name, proof in self.scenarios_of(program):
            with self.subTest(scenario=name):
                if roles.client and name in KNOWN_DIFFERENCES:
                    self.skipTest(KNOWN_DIFFERENCES[name])
                lines = session.run(name)
                after = session.counters()
                self.check_lines(name, reference[name], lines)
                self.check_proof(roles, proof, {key: after[key] - before[key] for key in after})
            before = session.counters()

    def check_lines(self, name, kernel, lines):
        self.assertEqual(kernel[-1], END, f"{name} on the kernel: {kernel}")
        if lines == kernel:
            return
        diff = difflib.unified_diff(kernel, lines, "kernel", "here", lineterm="", n=12)
        self.fail("\n".join([name, *diff]))

    def check_proof(self, roles, proof, counts):
        if not roles.client:
            self.assertEqual((counts["tcp"], counts["udp"]), (0, 0))
            return
        if proof in ("tcp", "tcp+kernel"):
            self.assertGreater(counts["tcp"], 0, counts)
        if proof == "tcp":
            self.assertLessEqual(counts["kernel"], KERNEL_SLACK, counts)
        if proof == "udp":
            self.assertGreater(counts["udp"], 0, counts)


def add_tests(program, family="v4", roles=tuple(ALL_ROLES)):
    @over_roles(roles)
    def test(self, roles):
        self.compare(program, roles, family)
    return test


class ConnectionsTest(TranscriptTest):
    test_connections = add_tests("connections")
    test_connections_mapped = add_tests("connections", "mapped", CLIENT)
    test_connections_v6 = add_tests("connections", "v6", EITHER)
    test_connections_link_local = add_tests("connections", "link_local", CLIENT)


class DataTest(TranscriptTest):
    test_data = add_tests("data")
    test_data_mapped = add_tests("data", "mapped", CLIENT)
    test_data_v6 = add_tests("data", "v6", CLIENT)


class WaitingTest(TranscriptTest):
    test_waiting = add_tests("waiting")
    test_waiting_mapped = add_tests("waiting", "mapped", CLIENT)
    test_waiting_v6 = add_tests("waiting", "v6", CLIENT)


class DescriptorsTest(TranscriptTest):
    test_descriptors = add_tests("descriptors")


class OptionsTest(TranscriptTest):
    test_options = add_tests("options")
    test_options_mapped = add_tests("options", "mapped", CLIENT)
    test_options_v6 = add_tests("options", "v6", CLIENT)


class ThreadsTest(TranscriptTest):
    test_threads = add_tests("threads")


class DatagramsTest(TranscriptTest):
    test_datagrams = add_tests("datagrams")
    test_datagrams_mapped = add_tests("datagrams", "mapped", CLIENT)
    test_datagrams_v6 = add_tests("datagrams", "v6", EITHER)
    test_datagrams_link_local = add_tests("datagrams", "link_local", CLIENT)


class Ipv6Test(TranscriptTest):
    test_ipv6_mapped = add_tests("ipv6", "mapped", CLIENT)
    test_ipv6_v6 = add_tests("ipv6", "v6", EITHER)
    test_ipv6_link_local = add_tests("ipv6", "link_local", CLIENT)


class FortifiedTest(TranscriptTest):
    test_fortified = add_tests("fortified")


class SignalsTest(TranscriptTest):
    test_signals = add_tests("signals")


class NumbersTest(TranscriptTest):
    test_numbers = add_tests("numbers")


class MulticastTest(TranscriptTest):
    test_multicast = add_tests("multicast")


class SplicingTest(TranscriptTest):
    test_splicing = add_tests("splicing")


class SigioTest(TranscriptTest):
    test_sigio = add_tests("sigio")


class ErrorsTest(TranscriptTest):
    test_errors = add_tests("errors")


class TimesTest(TranscriptTest):
    test_times = add_tests("times")
    test_times_v6 = add_tests("times", "v6", CLIENT)


class DissolvedTest(TranscriptTest):
    test_dissolved = add_tests("dissolved")


class BuffersTest(TranscriptTest):
    test_buffers = add_tests("buffers")


class UrgentTest(TranscriptTest):
    test_urgent = add_tests("urgent")


class ProcessesTest(TranscriptTest):
    test_processes = add_tests("processes")


class MovesTest(TranscriptTest):
    test_moves = add_tests("moves")


if __name__ == "__main__":
    unittest.main()
