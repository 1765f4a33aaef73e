"""workers_test.py - servers of several processes that accept at one port"""

import unittest

from lab_case import LabCase, Roles, over_roles, wait_until

WORKERS = 4
SERVER_ROLES = (Roles(False, False), Roles(False, True), Roles(True, True))


class WorkersCase(LabCase):

    def counters(self, of_program):
        """Of all bypassed processes of that name: pid to counters."""
        clients = (self.server_host.stat() or {"clients": []})["clients"]
        return {one["pid"]: one["counters"] for one in clients if one["program"] == of_program}

    def check_all_accept(self, roles, program, workers, accepted=1):
        """Every worker has had its share over the interface, and the kernel no connection."""
        if not roles.server:
            return
        counters = self.counters(program)
        shares = sorted((one["tcp_accepts"] for one in counters.values()), reverse=True)
        self.assertGreaterEqual(len(shares), workers, counters)
        self.assertGreaterEqual(shares[workers - 1], accepted, counters)


class ReuseportTest(WorkersCase):

    def start(self, roles, protocol):
        port = self.lab.new_port()
        self.serve(roles, self.server_host.python("reuseport_server.py", protocol, port, WORKERS), port, protocol)
        if roles.server:
            wait_until(lambda: sum(one["local_port"] == port for one in self.server_host.sockets()) >= WORKERS,
                       "all workers")
        return port

    @over_roles(SERVER_ROLES)
    def test_connections_spread_over_processes(self, roles):
        port = self.start(roles, "tcp")
        with self.proves(roles, frames=100):
            done = self.call(roles, self.client_host.python(
                "echo_load.py", self.server_host.address, port, 60, 20_000))
        self.assertEqual(done.out, "60 x 20000 right\n")
        self.check_all_accept(roles, "python3", WORKERS)

    @over_roles(SERVER_ROLES)
    def test_datagrams_spread_over_processes(self, roles):
        port = self.start(roles, "udp")
        with self.proves(roles, "udp", frames=100):
            done = self.call(roles, self.client_host.python(
                "many_flows.py", self.server_host.address, port, 60))
        self.assertEqual(done.out, f"{WORKERS} answered\n")


if __name__ == "__main__":
    unittest.main()
