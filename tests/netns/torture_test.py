"""torture_test.py - connections move at random moments, and not a byte is lost, doubled or moved

TORTURE_N=20000 makes it longer (`make torture N=20000`), TORTURE_SEED=7 another one.
"""

import os
import re
import threading
import time
import unittest

from lab_case import LabCase, Roles, over_roles
from lab import BUILD, UNDERPASS
from wire_lab import WireLab

PROGRAM = os.path.join(BUILD, "tests", "netns", "programs", "torture")
CONNECTIONS = int(os.environ.get("TORTURE_N", "300"))
SEED = int(os.environ.get("TORTURE_SEED", "1"))


class Torture:

    def alternate(self, hosts, ended):
        """All programs of the hosts leave bypass and come back, over and over."""
        while not ended.is_set():
            for verb in ("detach", "attach"):
                for host in hosts:
                    host.run([UNDERPASS, verb, "-i", host.iface], check=False)
                time.sleep(0.25)  # a move begins the wait before data is sent again anew

    def there_and_back(self, roles, seed, count, address):
        port = self.lab.new_port()
        server = self.serve(roles, [PROGRAM, "serve", port, seed, "calm"], port, stop=False)
        ended = threading.Event()
        hosts = [host for host, bypassed in ((self.client_host, roles.client), (self.server_host, roles.server))
                 if bypassed]
        mover = threading.Thread(target=self.alternate, args=(hosts, ended))
        mover.start()
        try:
            done = self.call(roles, [PROGRAM, "load", address, port, seed, count], limit_s=120 + count, check=False)
        finally:
            ended.set()
            mover.join()
        self.assertEqual(done.status, 0, f"seed {seed}: {done.describe()}\n{server.describe()}")
        self.assertRegex(done.out, f"^{count} connections, [0-9]+ bytes right\n$")
        counters = self.server_host.client(server)
        server.stop()
        print(f"    seed {seed}: {done.out.strip()}, {counters['tcp_moved_out']} moved out, "
              f"{counters['tcp_moved_in']} in", flush=True)
        if not roles.client:  # else a single pause may see all of them
            self.assertGreater(counters["tcp_moved_in"], 0)
            self.assertGreater(counters["tcp_moved_out"], 0)

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
        self.there_and_back(roles, SEED + 2, CONNECTIONS * 3, self.server_host.address)

    @over_roles((Roles(True, True),))
    def test_out_and_in_over_ipv6(self, roles):
        self.there_and_back(roles, SEED + 3, CONNECTIONS * 3, self.server_host.address6)

    @over_roles((Roles(False, True), Roles(True, True)))
    def test_moves(self, roles):
        self.torture(roles, SEED, CONNECTIONS)


class BadWireTest(Torture, LabCase):
    """Frames are lost and late in both directions."""

    lab_type = WireLab

    @over_roles((Roles(False, True),))
    def test_out_and_in(self, roles):
        self.there_and_back(roles, SEED + 4, CONNECTIONS * 3, self.server_host.address)

    @over_roles((Roles(False, False), Roles(False, True)))
    def test_moves(self, roles):
        self.torture(roles, SEED + 1, max(CONNECTIONS // 3, 50))

    @over_roles((Roles(False, True),))
    def test_moves_over_ipv6(self, roles):
        self.torture(roles, SEED + 5, max(CONNECTIONS // 3, 50), self.server_host.address6)


if __name__ == "__main__":
    unittest.main()
