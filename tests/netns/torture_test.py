"""torture_test.py - connections move at random moments, and not a byte is lost, doubled or moved

TORTURE_N=20000 makes it longer (`make torture N=20000`), TORTURE_SEED=7 another one.
"""

import os
import re
import threading
import time
import unittest

from lab_case import LabCase, Roles, is_wanted, over_roles
from lab import BUILD, LIMIT_S, UNDERPASS
from wire_lab import WireLab

PROGRAM = os.path.join(BUILD, "tests", "netns", "programs", "torture")
KILLS = os.path.join(BUILD, "tests", "netns", "programs", "kills")
CONNECTIONS = int(os.environ.get("TORTURE_N", "300"))
SEED = int(os.environ.get("TORTURE_SEED", "1"))
# Out and in each, at least, of a server whose host leaves bypass and comes back.
MOVES = 100


class Torture:

    def alternate(self, hosts, ended):
        """All programs of the hosts leave bypass and come back, over and over."""
        while not ended.is_set():
            for verb in ("detach", "attach"):
                for host in hosts:
                    host.run([UNDERPASS, verb, "-i", host.iface], check=False)
                time.sleep(0.03)

    def there_and_back(self, roles, seed, count, address):
        """Loads, one after the other, until the server's connections have moved often enough, both ways."""
        port = self.lab.new_port()
        server = self.serve(roles, [PROGRAM, "serve", port, seed, "calm"], port, stop=False)
        ended = threading.Event()
        hosts = [host for host, bypassed in ((self.client_host, roles.client), (self.server_host, roles.server))
                 if bypassed]
        mover = threading.Thread(target=self.alternate, args=(hosts, ended))
        mover.start()
        moved, loads = (0, 0), 0
        deadline = time.monotonic() + LIMIT_S
        try:
            while loads == 0 or (min(moved) < MOVES and time.monotonic() < deadline):
                done = self.call(roles, [PROGRAM, "load", address, port, seed + loads, count],
                                 limit_s=120 + count, check=False)
                self.assertEqual(done.status, 0, f"seed {seed + loads}: {done.describe()}\n{server.describe()}")
                self.assertRegex(done.out, f"^{count} connections, [0-9]+ bytes right\n$")
                loads += 1
                moved = self.moved(server)
        finally:
            ended.set()
            mover.join()
        moved = self.moved(server)
        server.stop()
        print(f"    seed {seed}: {loads} loads, the last with {done.out.strip()}, "
              f"{moved[0]} moved out, {moved[1]} in", flush=True)
        self.assertGreaterEqual(min(moved), MOVES, f"of {loads} loads")

    def moved(self, server):
        """Out and in."""
        counters = self.server_host.client(server)
        return counters["tcp_moved_out"], counters["tcp_moved_in"]

    def torture(self, roles, seed, count, address=None):
        port = self.lab.new_port()
        server = self.serve(roles, [PROGRAM, "serve", port, seed], port, stop=False)
        with self.lab.traffic() as traffic:
            done = self.call(roles, [PROGRAM, "load", address or self.server_host.address, port, seed, count],
                             limit_s=60 + count, check=False)
        self.assertEqual(done.status, 0, f"seed {seed}: {done.describe()}\n{server.describe()}")
        self.assertRegex(done.out, f"^{count} connections, [0-9]+ bytes right\n$")
        self.assertTrue(server.alive(), server.describe())
        moved = self.server_host.client(server)["tcp_moved_out"] if roles.server else 0
        server.stop()
        said = re.search(r"passed (\d+): median (\d+) us, p99 (\d+) us", server.log())
        self.assertIsNotNone(said, server.describe())
        print(f"    seed {seed}: {done.out.strip()}, {moved} moved, {said[0]}", flush=True)
        if roles.server:
            self.assertGreater(moved, count // 4)
            self.assertGreater(traffic[1].tcp_frames, count, traffic[1].describe())
            self.assertGreater(traffic[1].kernel_tcp, count, traffic[1].describe())


class TortureTest(Torture, LabCase):

    @over_roles((Roles(False, True),))
    def test_out_and_in(self, roles):
        self.there_and_back(roles, SEED + 2, CONNECTIONS, self.server_host.address)

    @over_roles((Roles(True, True),))
    def test_out_and_in_over_ipv6(self, roles):
        self.there_and_back(roles, SEED + 3, CONNECTIONS, self.server_host.address6)

    @over_roles((Roles(False, True), Roles(True, True)))
    def test_moves(self, roles):
        self.torture(roles, SEED, CONNECTIONS)


class KillsTest(LabCase):
    """Processes with connections are killed, exec, pass them on: the peer sees what it sees of the kernel."""

    LANES = 8

    def transcript(self, roles, seed, count):
        port = self.lab.new_port()
        self.lab.next_port += self.LANES
        server = self.serve(roles, [KILLS, "serve", port, self.LANES], port, stop=False)
        with self.lab.traffic() as traffic:
            done = self.call(roles, [KILLS, "load", self.server_host.address, port, self.LANES, seed, count],
                             limit_s=60 + count, check=False)
        server.stop()
        self.assertEqual(done.status, 0, f"seed {seed}: {done.describe()}\n{server.describe()}")
        lines = done.out.splitlines()
        self.assertEqual(len(lines), count, server.describe())
        # Of ten fates five kill the worker; what else it says is an error.
        self.assertRegex(server.log(), r"\A[0-9]+ workers were killed\n\Z")
        killed = int(server.log().split()[0])
        self.assertGreater(killed, count // 4)
        if roles.server:
            self.assertGreater(traffic[1].tcp_frames, count * 10, traffic[1].describe())
        print(f"    seed {seed}, {roles.name}: {count} connections, {killed} workers killed", flush=True)
        return lines

    def test_kills(self):
        seed, count = SEED + 6, max(CONNECTIONS // 3, 50)
        kernel = self.transcript(Roles(False, False), seed, count)
        for roles in (Roles(False, True), Roles(True, True)):
            if is_wanted(roles):
                with self.subTest(roles.name):
                    self.assertEqual(self.transcript(roles, seed, count), kernel, f"seed {seed}")


class BadWireTest(Torture, LabCase):
    """Frames are lost and late in both directions."""

    lab_type = WireLab

    @over_roles((Roles(False, True),))
    def test_out_and_in(self, roles):
        self.there_and_back(roles, SEED + 4, CONNECTIONS, self.server_host.address)

    @over_roles((Roles(False, False), Roles(False, True)))
    def test_moves(self, roles):
        self.torture(roles, SEED + 1, max(CONNECTIONS // 3, 50))

    @over_roles((Roles(False, True),))
    def test_moves_over_ipv6(self, roles):
        self.torture(roles, SEED + 5, max(CONNECTIONS // 3, 50), self.server_host.address6)


if __name__ == "__main__":
    unittest.main()
