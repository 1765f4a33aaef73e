"""coexistence_test.py - what is not under Underpass sees no difference on a bypassed interface

While bypassed traffic runs on the interface, ping and programs of the kernel use the same interface and the
same address.
"""

import re
import unittest

from lab_case import KERNEL, LabCase, Roles, over_roles, wait_until

PINGS = 50


class CoexistenceTest(LabCase):

    def keep_busy(self, roles):
        """Traffic in these roles until the test ends: redis-benchmark in a loop."""
        port = self.lab.new_port()
        self.serve(roles, ["redis-server", "--port", port, "--protected-mode", "no", "--save", "",
                           "--dir", self.lab.directory], port)
        load = self.background(self.client_host, [
            "redis-benchmark", "-h", self.server_host.address, "-p", port, "-t", "set,get", "-c", 4,
            "-l", "-q"], roles.client)
        wait_until(lambda: load.log().count("rps") > 3 or not load.alive(), "traffic")
        self.assertTrue(load.alive(), load.describe())

    def check_bypass(self, roles, traffic):
        """The bypassed program went on meanwhile."""
        for index, one in enumerate(traffic):
            if roles.of(index):
                self.assertGreater(one.tcp_frames, 100, one.describe())

    @over_roles()
    def test_ping_loses_nothing(self, roles):
        self.keep_busy(roles)
        with self.lab.traffic() as traffic:
            for host in self.lab.hosts:
                for size in (56, 1472):
                    done = host.run(["ping", "-c", PINGS, "-i", "0.005", "-s", size,
                                     host.peer.address])
                    self.assertIn(f"{PINGS} packets transmitted, {PINGS} received, 0% packet loss",
                                  done.out)
        self.check_bypass(roles, traffic)
        for index, one in enumerate(traffic):
            if roles.of(index):
                self.assertGreaterEqual(one.steer_pass_protocol, 4 * PINGS)

    @over_roles()
    def test_fragmented_ping_loses_nothing(self, roles):
        self.keep_busy(roles)
        with self.lab.traffic() as traffic:
            done = self.client_host.run(["ping", "-c", PINGS, "-i", "0.005", "-s", 4000,
                                         self.server_host.address])
        self.assertIn(f"{PINGS} received, 0% packet loss", done.out)
        self.check_bypass(roles, traffic)

    @over_roles()
    def test_kernel_programs_talk_tcp_both_ways(self, roles):
        self.keep_busy(roles)
        with self.lab.traffic() as traffic:
            for host in self.lab.hosts:
                self.echo(host.peer, host, "epoll", "tcp", 8, 500000)
        self.check_bypass(roles, traffic)
        for one in traffic:
            self.assertGreater(one.kernel_tcp, 500, one.describe())

    @over_roles()
    def test_kernel_programs_talk_udp_both_ways(self, roles):
        self.keep_busy(roles)
        with self.lab.traffic() as traffic:
            for host in self.lab.hosts:
                self.echo(host.peer, host, "udp", "udp", 50)
        self.check_bypass(roles, traffic)
        for one in traffic:
            self.assertGreaterEqual(one.kernel_udp, 2 * 400, one.describe())
            self.assertEqual(one.udp_frames, 0, one.describe())

    def echo(self, server_host, client_host, kind, protocol, *load):
        port = self.lab.new_port()
        server = self.background(server_host, server_host.python("echo_server.py", kind, port))
        server_host.wait_for_port(port, server, protocol=protocol)
        done = client_host.run(client_host.python("echo_client.py", protocol, server_host.address,
                                                  port, *load))
        self.assertEqual(done.out, f"peers {{('{server_host.address}', {port})}}\nok\n")
        server.kill()

    @over_roles()
    def test_kernel_sees_a_closed_port_refuse(self, roles):
        self.keep_busy(roles)
        for host in self.lab.hosts:
            done = host.run(host.python("attempt.py", "connect", host.peer.address,
                                        self.lab.new_port()))
            self.assertIn("connect: ECONNREFUSED", done.out)
            done = host.run(host.python("attempt.py", "udp_closed", host.peer.address,
                                        self.lab.new_port()))
            self.assertIn("recv: ECONNREFUSED", done.out)

    @over_roles((KERNEL, Roles(False, True)))
    def test_ss_shows_the_bypassed_listener(self, roles):
        port = self.lab.new_port()
        server = self.serve(roles, self.server_host.python("echo_server.py", "epoll", port), port)
        listing = self.server_host.run(["ss", "-Hltnp", f"sport = :{port}"]).out
        self.assertTrue(re.search(rf"LISTEN.*0\.0\.0\.0:{port}\b.*pid={server.pid},", listing), listing)

    @over_roles((KERNEL, Roles(False, True), Roles(True, True)))
    def test_port_is_the_kernels_again_when_its_program_has_ended(self, roles):
        port = self.lab.new_port()
        argv = self.server_host.python("echo_server.py", "epoll", port)
        bypassed = self.serve(roles, argv, port, stop=False)
        client = self.client_host.python("echo_client.py", "tcp", self.server_host.address, port)
        self.call(roles, client)
        bypassed.stop()
        kernel = self.background(self.server_host, argv)
        self.server_host.wait_for_port(port, kernel)
        with self.proves(Roles(roles.client, False), frames=10):
            self.call(roles, client)


if __name__ == "__main__":
    unittest.main()
