"""ipv6_test.py - programs over IPv6: real ones, link-local addresses, both families of one port"""

import hashlib
import json
import os
import unittest

from lab_case import ALL_ROLES, KERNEL, PYTHON, LabCase, Roles, over_roles, wait_until
from nginx_configuration import ONE_FOR_BOTH_FAMILIES, write_nginx_configuration

FILE_BYTES = 4 << 20
TRANSFER_BYTES = 20 << 20
SERVER_ALONE = (KERNEL, Roles(False, True))


class Ipv6Test(LabCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.address = cls.server_host.address6
        data = os.urandom(FILE_BYTES)
        cls.digest = hashlib.sha256(data).hexdigest()
        os.mkdir(os.path.join(cls.lab.directory, "www"))
        cls.lab.write("www/file", data)

    def echo(self, roles, kind, *load, frames, bound="::", address=None):
        port = self.lab.new_port()
        protocol = "udp" if kind == "udp" else "tcp"
        self.serve(roles, self.server_host.python("echo_server.py", kind, port, bound), port, protocol)
        argv = self.client_host.python("echo_client.py", protocol, address or self.address, port, *load)
        with self.proves(roles, protocol, frames):
            done = self.call(roles, argv)
        self.assertIn("ok\n", done.out)

    @over_roles()
    def test_echo_by_epoll(self, roles):
        self.echo(roles, "epoll", 20, 200000, frames=200)

    @over_roles()
    def test_echo_of_datagrams(self, roles):
        self.echo(roles, "udp", 20, frames=150)

    @over_roles()
    def test_echo_over_ipv4_to_a_listener_of_both_families(self, roles):
        self.echo(roles, "poll", 10, 100000, frames=60, address=self.server_host.address)

    @over_roles()
    def test_echo_of_ipv4_datagrams_to_a_socket_of_both_families(self, roles):
        self.echo(roles, "udp", 5, frames=35, address=self.server_host.address)

    @over_roles()
    def test_echo_between_link_local_addresses(self, roles):
        scope = self.client_host.iface
        address = self.server_host.link_local.partition("%")[0] + "%" + scope
        self.echo(roles, "epoll", 5, 100000, frames=40, address=address)
        self.echo(roles, "udp", 5, frames=35, address=address)

    @over_roles()
    def test_redis_benchmark(self, roles):
        port = self.lab.new_port()
        self.serve(roles, ["redis-server", "--port", port, "--bind", "::", "--protected-mode", "no", "--save", "",
                           "--appendonly", "no", "--dir", self.lab.directory], port)
        with self.proves(roles, frames=1000):
            done = self.call(roles, ["redis-benchmark", "-h", self.address, "-p", port, "-t", "set,get", "--csv",
                                     "-c", "50", "-n", "10000"])
        self.assertRegex(done.out, r'"GET","[1-9]', done.describe())

    def fetch(self, roles, port):
        """Over both families, from one listener."""
        for family, address in (("-6", f"[{self.address}]"), ("-4", self.server_host.address)):
            path = self.lab.new_file("fetched")
            with self.proves(roles, frames=40):
                self.call(roles, ["curl", family, "-sS", "--fail", "-g", "-o", path, f"http://{address}:{port}/file"])
            with open(path, "rb") as file:
                self.assertEqual(hashlib.sha256(file.read()).hexdigest(), self.digest)

    @over_roles()
    def test_http_server_and_curl(self, roles):
        port = self.lab.new_port()
        self.serve(roles, [PYTHON, "-u", "-m", "http.server", "--bind", "::", "--directory",
                           os.path.join(self.lab.directory, "www"), port], port, stop=False)
        self.fetch(roles, port)

    @over_roles()
    def test_nginx_and_curl(self, roles):
        port = self.lab.new_port()
        path = write_nginx_configuration(self.lab, port, "sendfile on;", ONE_FOR_BOTH_FAMILIES)
        self.serve(roles, ["/usr/sbin/nginx", "-e", "stderr", "-c", path], port)
        self.fetch(roles, port)

    @over_roles()
    def test_asyncio_over_both_families(self, roles):
        port = self.lab.new_port()
        self.serve(roles, self.server_host.python("asyncio_echo.py", "serve", port), port)
        argv = self.client_host.python("asyncio_echo.py", "call", port, self.address, self.server_host.address)
        with self.proves(roles, frames=200):
            done = self.call(roles, argv)
        self.assertEqual(done.out, "ok\n")

    def iperf3(self, roles, frames, *arguments):
        port = self.lab.new_port()
        server = self.serve(roles, ["iperf3", "-s", "-6", "-1", "-p", port], port, stop=False)
        with self.proves(roles, "tcp", frames):
            done = self.call(roles, ["iperf3", "-6", "-c", self.address, "-p", port, "-J", *arguments])
        self.assertEqual(server.wait(), 0, server.describe())
        return json.loads(done.out)["end"]

    @over_roles()
    def test_iperf3_both_ways(self, roles):
        for direction in ([], ["-R"]):
            end = self.iperf3(roles, 50, "-n", TRANSFER_BYTES, *direction)
            self.assertGreaterEqual(end["sum_sent"]["bytes"], TRANSFER_BYTES)

    @over_roles()
    def test_iperf3_with_datagrams(self, roles):
        end = self.iperf3(roles, 10, "-u", "-b", "50M", "-l", 1400, "-n", 1 << 20)
        self.assertLess(end["sum"]["lost_packets"], end["sum"]["packets"] / 10, end["sum"])

    @over_roles()
    def test_memcached(self, roles):
        port = self.lab.new_port()
        self.serve(roles, ["memcached", "-t", 4, "-u", "root", "-p", port, "-U", 0, "-l", "::"], port)
        with self.proves(roles, frames=1000):
            done = self.call(roles, self.client_host.python("memcached_client.py", self.address, port))
        self.assertEqual(done.out, "192 values ok\n")

    @over_roles(tuple(ALL_ROLES))
    def test_a_port_is_another_programs_over_the_other_family(self, roles):
        """roles.server: who has it over IPv6; roles.client: who has it over IPv4."""
        port = self.lab.new_port()
        over = {self.address: (self.address, roles.server), self.server_host.address: ("0.0.0.0", roles.client)}
        for bound, bypass in over.values():
            server = self.background(self.server_host, self.server_host.python("echo_server.py", "epoll", port, bound),
                                     bypass)
            name = "tcp6" if ":" in bound else "tcp"
            wait_until(lambda: f":{port:04X} " in self.server_host.run(["cat", f"/proc/net/{name}"]).out and (
                not bypass or any(one["pid"] == server.pid and one["state"] == "LISTEN"
                                  for one in self.server_host.sockets())) or not server.alive(), f"port {port}")
            self.assertTrue(server.alive(), server.describe())
        for address, (_, bypass) in over.items():
            with self.lab.traffic() as traffic:
                self.client_host.run(self.client_host.python("echo_client.py", "tcp", address, port))
            self.assertEqual((traffic[1].tcp_frames > 0, traffic[1].kernel_tcp > 0), (bypass, not bypass),
                             traffic[1].describe())

    @over_roles((Roles(False, True),))
    def test_peers_of_a_killed_program_hear_of_it_at_once(self, roles):
        port = self.lab.new_port()
        server = self.background(self.server_host, self.server_host.python("echo_server.py", "epoll", port, "::"),
                                 roles.server)
        self.server_host.wait_for_port(port, server, roles.server)
        link_local = self.server_host.link_local.replace(self.server_host.iface, self.client_host.iface)
        clients = [self.background(self.client_host, self.client_host.python("witness.py", address, port, 10, 2))
                   for address in (self.address, link_local)]
        for client in clients:
            wait_until(lambda one=client: "connected" in one.log() or not one.alive(), "the connections")
        server.kill()
        for client in clients:
            self.assertEqual(client.wait(), 0, client.describe())
            self.assertIn("12 reset, 0 closed", client.log())

    @over_roles(SERVER_ALONE)
    def test_ping_and_neighbours_are_the_kernels(self, roles):
        port = self.lab.new_port()
        self.serve(roles, self.server_host.python("echo_server.py", "epoll", port, "::"), port)
        for _ in range(3):
            for host in self.lab.hosts:
                host.forget_neighbours()
            self.client_host.run(self.client_host.python("echo_client.py", "tcp", self.address, port))
            done = self.client_host.run(["ping", "-6", "-c", "2", "-i", "0.2", "-W", "5", self.address])
            self.assertRegex(done.out, r"2 packets transmitted, 2 received")

    @over_roles((KERNEL, Roles(True, False)))
    def test_nobody_and_no_route_are_said(self, roles):
        nobody = self.address.rpartition(":")[0] + ":dead"
        for address, said in ((nobody, "EHOSTUNREACH"), ("2001:db8::1", "ENETUNREACH")):
            done = self.call(roles, self.client_host.python("attempt.py", "connect", address, 7))
            self.assertIn(f"connect: {said}", done.out.splitlines())

    @over_roles((KERNEL, Roles(True, False)))
    def test_router_that_knows_no_way_ends_a_connect(self, roles):
        beyond = "2001:db8:7::/64"
        self.server_host.run(["sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=1", "net.ipv6.icmp.ratelimit=0"])
        self.client_host.run(["ip", "route", "replace", beyond, "via", self.address])
        for kind, said in (("unreachable", "ENETUNREACH"), ("prohibit", "EACCES")):
            self.server_host.run(["ip", "route", "replace", kind, beyond])
            argv = self.client_host.python("attempt.py", "connect", beyond.replace("/64", "7"), 7)
            with self.lab.traffic() as traffic:
                self.assertIn(f"connect: {said}", self.call(roles, argv).out.splitlines())
            self.assertEqual(traffic[0].kernel_tcp == 0, roles.client, traffic[0].describe())
            self.server_host.run(["ip", "route", "delete", kind, beyond])

    @over_roles((Roles(False, True),))
    def test_an_address_that_may_be_anothers_is_not_served(self, roles):
        """RFC 4862, 5.4. The peer does not ask for its neighbour, which the kernel would not answer."""
        host, iface, port = self.server_host, self.server_host.iface, self.lab.new_port()
        extra = self.address.rpartition(":")[0] + ":99"
        mac = json.loads(host.run(["ip", "-j", "link", "show", iface]).out)[0]["address"]
        self.client_host.run(["ip", "neighbour", "replace", extra, "lladdr", mac, "dev", iface])
        self.serve(roles, host.python("echo_server.py", "udp", port, "::"), port, "udp")
        # So many seconds it takes to be sure.
        host.run(["sysctl", "-q", "-w", f"net.ipv6.conf.{iface}.accept_dad=1",
                  f"net.ipv6.conf.{iface}.dad_transmits=600"])
        self.addCleanup(host.run, ["sysctl", "-q", "-w", f"net.ipv6.conf.{iface}.accept_dad=0"])
        host.run(["ip", "address", "add", f"{extra}/64", "dev", iface])
        one = [PYTHON, "-c", "import socket, sys; socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto("
               "b'x', (sys.argv[1], int(sys.argv[2])))", extra, port]
        with self.lab.traffic() as traffic:
            self.client_host.run(one)
            wait_until(lambda: traffic[1].now()["steer_pass_address"] > traffic[1].before["steer_pass_address"],
                       "the datagram")
        self.assertEqual(traffic[1].udp_frames, 0, traffic[1].describe())
        host.run(["ip", "address", "delete", f"{extra}/64", "dev", iface])
        host.run(["ip", "address", "add", f"{extra}/64", "dev", iface, "nodad"])
        # The kernel would choose it as the source of what others send.
        self.addCleanup(host.run, ["ip", "address", "delete", f"{extra}/64", "dev", iface])
        with self.lab.traffic() as traffic:
            self.client_host.run(self.client_host.python("echo_client.py", "udp", extra, port))
        self.assertGreater(traffic[1].udp_frames, 5, traffic[1].describe())

    def put_behind_a_router(self, network, mtu_bytes):
        """A namespace that the server's host routes to over a narrower link; what it says of itself is wide."""
        router, far = self.server_host, self.background(self.server_host, ["unshare", "-n", "sleep", "1000"])
        inside = ["nsenter", "-t", str(far.pid), "-n"]
        wait_until(lambda: os.readlink(f"/proc/{far.pid}/ns/net") not in (
            os.readlink("/proc/self/ns/net"), os.readlink(f"/proc/{router.broker.pid}/ns/net")), "a namespace")
        router.run(["sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=1"])
        router.run(["ip", "link", "add", "far0", "mtu", mtu_bytes, "type", "veth",
                    "peer", "name", "far1", "mtu", mtu_bytes, "netns", far.pid])
        for command, name, number in (([], "far0", 1), (inside, "far1", 2)):
            router.run([*command, "ip", "address", "add", f"{network}{number}/64", "dev", name, "nodad"])
            router.run([*command, "ip", "link", "set", name, "up"])
        router.run([*inside, "ip", "-6", "route", "add", "default", "via", f"{network}1", "advmss", "1440"])
        self.client_host.run(["ip", "route", "replace", f"{network}/64", "via", self.address])
        return f"{network}2", inside

    @over_roles((KERNEL, Roles(True, False)))
    def test_connection_heeds_a_router_that_finds_packets_too_big(self, roles):
        address, inside = self.put_behind_a_router("2001:db8:9::", 1300)
        port = self.lab.new_port()
        server = self.background(self.server_host, [*inside, *self.server_host.python("echo_server.py", "poll", port,
                                                                                     "::")])
        listens = [*inside, "cat", "/proc/net/tcp6"]
        wait_until(lambda: f":{port:04X} " in self.server_host.run(listens).out or not server.alive(), "the server")
        with self.lab.traffic() as traffic:
            done = self.call(roles, self.client_host.python("echo_client.py", "tcp", address, port, 2, 300000))
        self.assertIn("ok\n", done.out)
        # At its end the client gives its connections to the kernel, for a few segments.
        self.assertEqual(traffic[0].kernel_tcp < 20, roles.client, traffic[0].describe())


if __name__ == "__main__":
    unittest.main()
