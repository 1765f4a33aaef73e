"""detach_test.py - running programs leave bypass and come back, in the middle of transfers (`underpass detach`)"""

import os
import signal
import subprocess
import sys
import time
import unittest

from lab_case import LabCase, Roles, needs_bypass, over_roles, wait_until
from lab import UNDERPASS  # (lab_case knows where it is)

CONNECTIONS = 4
BYTES = 25_000_000


@needs_bypass
class DetachTest(LabCase):

    def relocate(self, host, verb, pid=None, **more):
        who = ["--pid", pid] if pid else []
        return host.run([UNDERPASS, verb, "-i", host.iface, *who], **more)

    def alternate(self, host, load):
        """All of the host's programs leave and come back for as long as the load runs."""
        rounds = 0
        while load.alive():
            for verb in ("detach", "attach"):
                # Some connections are in states that stay where they are.
                done = self.relocate(host, verb, check=False)
                self.assertIn(done.status, (0, 1), done.describe())
                self.assertRegex(done.out, r"^\d+ programs?: \d+ connections? ", done.describe())
                time.sleep(0.25)  # a move begins the wait before data is sent again anew
            rounds += 1
        return rounds

    def echo(self, roles, kind, address):
        port = self.lab.new_port()
        server = self.serve(roles, self.server_host.python("echo_server.py", kind, port, "::"), port)
        # From one stack to another it pauses longer at each move.
        size = BYTES // (20 if roles.client else 1)
        load = self.background(self.client_host, self.client_host.python(
            "echo_load.py", address, port, CONNECTIONS, size), bypass=roles.client)
        host = self.server_host if roles.server else self.client_host
        end = "local_port" if roles.server else "peer_port"
        wait_until(lambda: not load.alive() or CONNECTIONS == len(
            [one for one in host.sockets() if one[end] == port and one["state"] == "ESTAB"]), "the connections")
        rounds = self.alternate(host, load)
        load.wait(60)
        self.assertEqual(load.log(), f"{CONNECTIONS} x {size} right\n")
        return server, rounds

    @over_roles((Roles(False, True), Roles(True, True)))
    def test_a_server_with_epoll(self, roles):
        server, rounds = self.echo(roles, "epoll", self.server_host.address)
        counters = self.server_host.client(server)
        print(f"    {rounds} rounds, out {counters['tcp_moved_out']}, in {counters['tcp_moved_in']}", flush=True)

    @over_roles((Roles(False, True),))
    def test_a_server_with_poll_over_ipv6(self, roles):
        server, rounds = self.echo(roles, "poll", self.server_host.address6)
        counters = self.server_host.client(server)
        print(f"    {rounds} rounds, out {counters['tcp_moved_out']}, in {counters['tcp_moved_in']}", flush=True)

    @over_roles((Roles(False, True), Roles(True, True)))
    def test_a_connection_goes_to_and_fro(self, roles):
        port = self.lab.new_port()
        server = self.serve(roles, self.server_host.python("echo_server.py", "epoll", port, "::"), port)
        for address in (self.server_host.address, self.server_host.address6):
            before = self.server_host.client(server)
            load = self.background(self.client_host, self.client_host.python("echo_steps.py", address, port, 40),
                                   bypass=roles.client)
            wait_until(lambda: [one for one in self.server_host.sockets() if one["state"] == "ESTAB"],
                       "the connection")
            self.alternate(self.server_host, load)
            load.wait()
            self.assertEqual(load.log(), "40 right\n")
            after = self.server_host.client(server)
            for counter in ("tcp_moved_out", "tcp_moved_in"):
                self.assertGreaterEqual(after[counter] - before[counter], 2, counter)

    @over_roles((Roles(True, False),))
    def test_a_client_whose_threads_block(self, roles):
        self.echo(roles, "select", self.server_host.address)

    def test_new_sockets_are_the_kernels_until_it_comes_back(self):
        port = self.lab.new_port()
        server = self.serve(Roles(False, True), self.server_host.python("echo_server.py", "epoll", port), port)
        echo = self.client_host.python("echo_client.py", "tcp", self.server_host.address, port)
        for verb, bypassed in (("detach", False), ("attach", True), ("detach", False), ("attach", True)):
            self.relocate(self.server_host, verb, server.pid)
            told = self.server_host.run([UNDERPASS, "stat", "-i", self.server_host.iface]).out
            self.assertEqual("detached" in told, not bypassed)
            listening = [one for one in self.server_host.sockets() if one["local_port"] == port]
            self.assertEqual(bool(listening), bypassed)
            with self.lab.traffic() as traffic:
                self.assertIn("ok\n", self.client_host.run(echo).out)
            self.assertEqual(traffic[1].tcp_frames > 0, bypassed, traffic[1].describe())

    def sizes(self, server):
        os.write(server.popen.stdin.fileno(), b"ask\n")
        return server.popen.stdout.readline().decode().split()

    def test_nobody_sees_what_the_way_back_needs(self):
        """The kernel's queue is limited for it; SO_SNDBUF and SO_BUF_LOCK say what they said."""
        port = self.lab.new_port()
        server = self.serve(Roles(False, True), self.server_host.python("buffer_sizes.py", port), port,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        hold = ("import socket, sys, time; a = [socket.create_connection((sys.argv[1], int(sys.argv[2]))) "
                "for _ in range(2)]; time.sleep(100)")
        argv = [sys.executable, "-c", hold, self.server_host.address, port]
        self.background(self.client_host, argv)
        wait_until(lambda: len([one for one in self.server_host.sockets() if one["local_port"] == port]) == 3,
                   "two connections")
        before = self.sizes(server)
        self.assertEqual([one.partition("/")[2] for one in before], ["0", "1"])
        moved = []
        for verb in ("detach", "attach"):
            moved.append(self.relocate(self.server_host, verb, server.pid).out)
            self.assertEqual(self.sizes(server), before, verb)
        self.assertIn("2 connections", moved[0])
        # These are the kernel's from the beginning.
        self.relocate(self.server_host, "detach", server.pid)
        self.background(self.client_host, argv)
        time.sleep(0.2)
        all_of_them = self.sizes(server)
        self.assertEqual(all_of_them[:2], before)
        self.assertEqual([one.partition("/")[2] for one in all_of_them[2:]], ["0", "1"])
        self.relocate(self.server_host, "attach", server.pid)
        self.assertEqual(self.sizes(server), all_of_them)

    def test_datagrams_go_on(self):
        port = self.lab.new_port()
        server = self.serve(Roles(False, True), self.server_host.python("echo_server.py", "udp", port), port,
                            "udp")
        echo = self.client_host.python("echo_client.py", "udp", self.server_host.address, port)
        for verb, bypassed in (("detach", False), ("attach", True)):
            self.relocate(self.server_host, verb, server.pid)
            with self.lab.traffic() as traffic:
                self.assertIn("ok\n", self.client_host.run(echo).out)
            self.assertEqual(traffic[1].udp_frames > 0, bypassed, traffic[1].describe())

    def test_refusals(self):
        host = self.server_host
        done = self.relocate(host, "detach", os.getpid(), check=False)
        self.assertEqual(done.status, 1)
        self.assertIn("no program with pid", done.err)
        self.assertEqual(self.relocate(host, "attach").out, "0 programs: 0 connections taken from the kernel\n")
        done = host.run([UNDERPASS, "detach", "-i", "nothing0"], check=False)
        self.assertEqual(done.status, 1)
        self.assertIn("there is no interface nothing0", done.err)

    def test_a_stopped_program_does_it_later(self):
        port = self.lab.new_port()
        server = self.serve(Roles(False, True), self.server_host.python("echo_server.py", "epoll", port), port)
        os.kill(server.pid, signal.SIGSTOP)
        done = self.relocate(self.server_host, "detach", server.pid, check=False)
        self.assertEqual(done.status, 1)
        self.assertIn("not every program has answered", done.err)
        os.kill(server.pid, signal.SIGCONT)
        wait_until(lambda: not [one for one in self.server_host.sockets() if one["local_port"] == port],
                   "the program to leave")


if __name__ == "__main__":
    unittest.main()
