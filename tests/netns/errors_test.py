"""errors_test.py - connections that fail, and first packets to hosts that are not known yet

What a bypassed program is told is compared with what the kernel tells the same program in the same lab.
"""

import subprocess
import unittest

from lab_case import LabCase, needs_bypass, over_roles, wait_until

# An address of the lab's network that no host has.
NOBODY_BYTE = "99"
DEAD_BYTE = "98"
# Behind the server, if it routed.
BEYOND = "192.0.2.0/24"


class ErrorsTest(LabCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        network = cls.client_host.address.rpartition(".")[0]
        cls.nobody, cls.dead = f"{network}.{NOBODY_BYTE}", f"{network}.{DEAD_BYTE}"
        # The kernel asks three times, and gives up sooner than after three seconds.
        cls.client_host.run(["sysctl", "-q", "-w", "net.ipv4.neigh.up0.retrans_time_ms=100"])
        # A host that resolves and never answers.
        cls.client_host.run(["ip", "neighbour", "replace", cls.dead, "lladdr", "02:00:00:00:00:98",
                             "dev", "up0", "nud", "permanent"])

    def compare(self, what, *arguments, expected=()):
        """Runs the attempt on the kernel and under Underpass; both must say the same."""
        argv = self.client_host.python("attempt.py", what, *arguments)
        kernel = self.client_host.run(argv).out
        for line in expected:
            self.assertIn(line, kernel.splitlines())
        with self.lab.traffic() as traffic:
            bypassed = self.client_host.run(argv, bypass=True).out
        self.assertEqual(bypassed, kernel)
        # Not a segment was the kernel's: the SYNs were sent by the stack.
        self.assertEqual(traffic[0].kernel_tcp, 0, traffic[0].describe())

    def closed_port(self):
        return self.server_host.address, self.lab.new_port()

    @needs_bypass
    def test_closed_port_refuses(self):
        self.compare("connect", *self.closed_port(), expected=["connect: ECONNREFUSED"])

    @needs_bypass
    def test_closed_port_refuses_a_nonblocking_connect(self):
        self.compare("connect_nonblocking", *self.closed_port(),
                     expected=["connect: EINPROGRESS", "SO_ERROR: ECONNREFUSED", "SO_ERROR again: 0"])

    @needs_bypass
    def test_closed_port_refuses_an_event_loop(self):
        self.compare("connect_epoll", *self.closed_port(), expected=["SO_ERROR: ECONNREFUSED"])

    @needs_bypass
    def test_closed_port_of_udp_refuses(self):
        self.compare("udp_closed", *self.closed_port(), expected=["recv: ECONNREFUSED"])

    @needs_bypass
    def test_host_that_nobody_has_is_unreachable(self):
        self.compare("connect", self.nobody, 7, expected=["connect: EHOSTUNREACH"])

    @needs_bypass
    def test_host_that_nobody_has_is_unreachable_for_an_event_loop(self):
        self.compare("connect_epoll", self.nobody, 7, expected=["SO_ERROR: EHOSTUNREACH"])

    @needs_bypass
    def test_router_that_knows_no_way_ends_a_connect(self):
        """Not compared line by line: over veth the router's word may come while the kernel's connect(2)
        has its own socket locked, which then stays half open until the next SYN."""
        self.server_host.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv4.icmp_ratelimit=0"])
        self.client_host.run(["ip", "route", "add", BEYOND, "via", self.server_host.address])
        address = BEYOND.replace("0/24", "7")
        for kind in ("unreachable", "prohibit"):
            self.server_host.run(["ip", "route", "replace", kind, BEYOND])
            for what, said in (("connect", "connect: EHOSTUNREACH"),
                               ("connect_epoll", "SO_ERROR: EHOSTUNREACH")):
                argv = self.client_host.python("attempt.py", what, address, 7)
                for bypass in (False, True):
                    with self.subTest(kind=kind, what=what, bypass=bypass), self.lab.traffic() as traffic:
                        self.assertIn(said, self.client_host.run(argv, bypass=bypass).out.splitlines())
                if what == "connect_epoll":
                    self.assertEqual(traffic[0].kernel_tcp, 0, traffic[0].describe())

    @needs_bypass
    def test_silent_host_times_out(self):
        self.compare("connect_one_try", self.dead, 7, expected=["connect: ETIMEDOUT"])

    @needs_bypass
    def test_syns_are_sent_again_while_the_program_makes_no_call(self):
        self.check_unattended("nothing")

    @needs_bypass
    def test_syns_are_sent_again_while_another_thread_sleeps(self):
        self.check_unattended("thread")

    def check_unattended(self, beside):
        host = self.client_host
        program = self.background(host, host.python("attempt.py", "connect_unattended", self.dead, 7, beside),
                                  bypass=True, stdin=subprocess.PIPE)
        self.addCleanup(program.popen.stdin.close)
        # After 1, 2 and 3 seconds, or 1, 3 and 7.
        wait_until(lambda: (host.client(program) or {}).get("tcp_retransmits", 0) >= 3, "three SYNs")

    @needs_bypass
    def test_silent_host_gets_as_many_syns_as_from_the_kernel(self):
        host, setting = self.client_host, "net.ipv4.tcp_syn_linear_timeouts"
        known = host.run(["sysctl", "-n", setting], check=False)
        for value in ("0", known.out.strip()) if known.status == 0 else (None,):
            with self.subTest(linear_timeouts=value):
                if value is not None:
                    host.run(["sysctl", "-q", "-w", f"{setting}={value}"])
                kernel, bypassed = self.syn_retransmits()
                self.assertGreater(kernel, 0)
                self.assertEqual(bypassed, kernel)

    def syn_retransmits(self):
        """Of the same connect, on the kernel and under Underpass."""
        host = self.client_host
        before = host.kernel_counters()["TcpExt"]["TCPSynRetrans"]
        argv = host.python("attempt.py", "connect_one_try", self.dead, 7)
        programs = [self.background(host, argv, bypass, stdin=subprocess.PIPE)
                    for bypass in (False, True)]
        for program in programs:
            wait_until(lambda one=program: "SO_ERROR" in one.log() or not one.alive(), "the end of it")
            self.assertIn("connect: ETIMEDOUT", program.log())
        kernel = host.kernel_counters()["TcpExt"]["TCPSynRetrans"] - before
        bypassed = host.client(programs[1])["tcp_retransmits"]
        for program in programs:
            program.popen.stdin.close()
            self.assertEqual(program.wait(), 0, program.describe())
        return kernel, bypassed

    @needs_bypass
    def test_syn_acks_are_sent_again_as_the_namespace_says(self):
        host, port = self.server_host, self.lab.new_port()
        host.run(["sysctl", "-q", "-w", "net.ipv4.tcp_synack_retries=1"])
        host.run(["ip", "neighbour", "replace", self.dead, "lladdr", "02:00:00:00:00:98", "dev", "up0",
                  "nud", "permanent"])
        server = self.background(host, host.python("echo_server.py", "epoll", port), bypass=True)
        host.wait_for_port(port, server, bypass=True)
        self.client_host.run(self.client_host.python("syn.py", host.address, port, self.dead))

        def embryonic():
            return [one for one in host.sockets() if one["state"] == "SYN-RECV"]

        wait_until(embryonic, "the handshake")
        wait_until(lambda: not embryonic(), "the end of it")
        self.assertEqual(host.client(server)["tcp_retransmits"], 1)

    @needs_bypass
    def test_silent_host_outlasts_the_send_timeout(self):
        self.compare("connect_impatient", self.dead, 7, expected=["connect: EINPROGRESS"])

    @needs_bypass
    def test_network_without_a_route_is_unreachable(self):
        self.compare("connect", "192.0.2.1", 7, expected=["connect: ENETUNREACH"])

    @needs_bypass
    def test_port_bound_twice_in_a_program_is_in_use(self):
        self.compare("bind_twice", "0.0.0.0", self.lab.new_port(),
                     expected=["second bind: EADDRINUSE", "first bind again: EINVAL"])

    @needs_bypass
    def test_address_of_another_host_cannot_be_bound(self):
        self.compare("bind", self.server_host.address, self.lab.new_port(),
                     expected=["bind: EADDRNOTAVAIL"])

    @over_roles()
    def test_port_of_another_program_is_in_use(self, roles):
        """The holder is as roles.server says, who comes second as roles.client says; one host."""
        host = self.server_host
        port = self.lab.new_port()
        self.serve(roles, host.python("echo_server.py", "poll", port), port)
        for what, where in (("bind", "0.0.0.0"), ("bind", host.address), ("bind", "127.0.0.1"),
                            ("bind_reusing", "0.0.0.0")):
            done = host.run(host.python("attempt.py", what, where, port), bypass=roles.client)
            self.assertIn("EADDRINUSE", done.out, (what, where))

    @over_roles()
    def test_udp_port_of_another_program_is_in_use(self, roles):
        host = self.server_host
        port = self.lab.new_port()
        self.serve(roles, host.python("echo_server.py", "udp", port), port, "udp")
        done = host.run(host.python("attempt.py", "bind", "0.0.0.0", port, "udp"), bypass=roles.client)
        self.assertEqual(done.out, "bind: EADDRINUSE\n")


class NeighboursTest(LabCase):
    """Hosts that the kernel has not resolved, or has to resolve anew."""

    def flush(self):
        for host in self.lab.hosts:
            host.forget_neighbours("nud", "all")

    def client(self, protocol, port, *load):
        return self.client_host.python("echo_client.py", protocol, self.server_host.address, port, *load)

    @over_roles()
    def test_first_syn_to_an_unknown_host_arrives(self, roles):
        port = self.lab.new_port()
        self.serve(roles, self.server_host.python("echo_server.py", "epoll", port), port)
        self.flush()
        kernel_before = self.kernel_syn_retransmits()
        client = self.background(self.client_host, self.client("tcp", port, 1, 1000), roles.client,
                                 stdin=subprocess.PIPE)
        wait_until(lambda: client.log().endswith("ok\n") or not client.alive(), "the answer")
        # A SYN that was lost for want of a neighbour would have been sent again.
        if roles.client:
            counters = self.client_host.client(client)
            self.assertEqual(counters["tcp_retransmits"], 0, counters)
            self.assertGreater(counters["tx_frames"], 0)
        self.assertEqual(self.kernel_syn_retransmits(), kernel_before)
        client.popen.stdin.close()
        self.assertEqual(client.wait(), 0, client.describe())

    def kernel_syn_retransmits(self):
        return sum(host.kernel_counters()["TcpExt"]["TCPSynRetrans"] for host in self.lab.hosts)

    @over_roles()
    def test_first_datagram_to_an_unknown_host_arrives(self, roles):
        port = self.lab.new_port()
        self.serve(roles, self.server_host.python("echo_server.py", "udp", port), port, "udp")
        self.flush()
        with self.proves(roles, "udp", frames=4):
            self.call(roles, self.client("udp", port))

    @over_roles()
    def test_connection_goes_on_when_neighbours_are_forgotten(self, roles):
        port = self.lab.new_port()
        self.serve(roles, self.server_host.python("echo_server.py", "epoll", port), port)
        client = self.background(self.client_host, self.client("tcp", port, 4, 16 << 20),
                                 roles.client)

        def done_after_a_flush():
            self.flush()
            return not client.alive()
        wait_until(done_after_a_flush, "the end of the transfer")
        self.assertEqual(client.wait(), 0, client.describe())


if __name__ == "__main__":
    unittest.main()
