"""hybrid_test.py - one bypassed server, reached over the interface and over loopback at once"""

import subprocess
import unittest

from lab_case import KERNEL, LabCase, Roles, needs_bypass, over_roles, wait_until

SERVER_ROLES = (KERNEL, Roles(False, True), Roles(True, True))


class HybridTest(LabCase):

    def both_ways(self, roles, kind, *load):
        """Clients over veth and, from the server's own host, over loopback and to its own address; all
        connected, or all known by their datagrams, before the first of them ends."""
        protocol = "udp" if kind == "udp" else "tcp"
        port = self.lab.new_port()
        server = self.serve(roles, self.server_host.python("echo_server.py", kind, port), port, protocol)
        address = self.server_host.address
        with self.lab.traffic() as traffic:
            clients = [self.background(host, host.python("echo_client.py", protocol, to, port, *load),
                                       bypass, stdin=subprocess.PIPE)
                       for host, to, bypass in ((self.client_host, address, roles.client),
                                                (self.server_host, "127.0.0.1", False),
                                                (self.server_host, address, False))]
            for client in clients:
                wait_until(lambda: client.log().endswith("ok\n") or not client.alive(), "an echo")
            self.check_sides(server, roles, protocol)
            for client in clients:
                client.popen.stdin.close()
                self.assertEqual(client.wait(), 0, client.describe())
        if roles.server:
            self.assertGreater(getattr(traffic[1], f"{protocol}_frames"), 0, traffic[1].describe())

    def check_sides(self, server, roles, protocol):
        if not roles.server:
            return
        counters = self.server_host.client(server)
        if protocol == "udp":
            self.assertGreater(counters["udp_kernel_receives"], 0, counters)
            self.assertGreater(counters["udp_kernel_sends"], 0, counters)
        else:
            self.assertEqual((counters["tcp_accepts"], counters["kernel_accepts"]), (3, 6), counters)

    @over_roles(SERVER_ROLES)
    def test_poll_server_answers_both(self, roles):
        self.both_ways(roles, "poll", 3, 300000)

    @over_roles(SERVER_ROLES)
    def test_select_server_answers_both(self, roles):
        self.both_ways(roles, "select", 3, 300000)

    @over_roles(SERVER_ROLES)
    def test_epoll_server_answers_both(self, roles):
        self.both_ways(roles, "epoll", 3, 300000)

    @over_roles(SERVER_ROLES)
    def test_udp_server_answers_both(self, roles):
        self.both_ways(roles, "udp", 20)

    @over_roles(SERVER_ROLES)
    def test_server_bound_to_loopback_is_not_reached_from_outside(self, roles):
        port = self.lab.new_port()
        argv = self.server_host.python("echo_server.py", "epoll", port, "127.0.0.1")
        server = self.background(self.server_host, argv, roles.server)
        self.server_host.wait_for_port(port, server)
        attempt = self.call(roles, self.client_host.python("attempt.py", "connect",
                                                           self.server_host.address, port))
        self.assertIn("connect: ECONNREFUSED", attempt.out)
        self.server_host.run(self.server_host.python("echo_client.py", "tcp", "127.0.0.1", port))

    @over_roles(SERVER_ROLES)
    def test_server_bound_to_the_interfaces_address_answers(self, roles):
        port = self.lab.new_port()
        address = self.server_host.address
        self.serve(roles, self.server_host.python("echo_server.py", "epoll", port, address), port)
        with self.proves(roles, frames=10):
            self.call(roles, self.client_host.python("echo_client.py", "tcp", address, port))

    @over_roles((KERNEL, Roles(True, False)))
    def test_client_reaches_servers_on_loopback_and_on_its_own_address(self, roles):
        host = self.client_host
        port = self.lab.new_port()
        server = self.background(host, host.python("echo_server.py", "epoll", port))
        host.wait_for_port(port, server)
        for address in ("127.0.0.1", host.address):
            self.call(roles, host.python("echo_client.py", "tcp", address, port))

    @over_roles((Roles(True, True),))
    def test_two_bypassed_programs_of_one_host_reach_each_other(self, roles):
        host = self.server_host
        port = self.lab.new_port()
        self.serve(roles, host.python("echo_server.py", "epoll", port), port)
        for address in ("127.0.0.1", host.address):
            host.run(host.python("echo_client.py", "tcp", address, port), bypass=True)


class ForbiddenTest(LabCase):

    @needs_bypass
    def test_server_that_may_not_ask_for_routes_is_the_kernels(self):
        """As under systemd's RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX."""
        host, port = self.server_host, self.lab.new_port()
        server = self.background(host, host.python("without_netlink.py", *host.python("echo_server.py", "epoll", port)),
                                 bypass=True)
        host.wait_for_port(port, server)
        with self.lab.traffic() as traffic:
            self.client_host.run(self.client_host.python("echo_client.py", "tcp", host.address, port))
        self.assertEqual(traffic[1].tcp_frames, 0, traffic[1].describe())


if __name__ == "__main__":
    unittest.main()
