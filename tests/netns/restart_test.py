"""restart_test.py - the broker ends and another one comes, and no program loses a connection (decision 020)"""

import os
import signal
import threading
import time
import unittest

from lab_case import LabCase, Roles, needs_bypass, over_roles, wait_until
from lab import LIBRARY, UNDERPASS  # (lab_case knows where it is)

RESTARTS = 3
CONNECTIONS = 4


@needs_bypass
class RestartTest(LabCase):

    def tearDown(self):
        super().tearDown()
        for host in self.lab.hosts:
            if not host.broker.alive():
                wait_until(lambda host=host: host.xdp_program_id() is None, "the XDP program to go")
                host.start_broker()

    def end_broker(self, host):
        """Returns how long it took."""
        began = time.monotonic()
        self.assertEqual(host.broker.stop(), 0)
        took = time.monotonic() - began
        self.assertNotIn("not answered", host.broker.log())
        # Whoever sleeps on the rings is told, and wakes.
        wait_until(lambda: host.xdp_program_id() is None, "the XDP program to go", 5)
        return took

    def restart(self, host, process, port, connections, gap_s=0.3):
        """Ends the broker and starts another; returns when the program has its connections in bypass again."""
        before = host.client(process)
        took = self.end_broker(host)
        time.sleep(gap_s)
        host.start_broker()
        wait_until(lambda: host.client(process), "the program to come back")
        wait_until(lambda: host.established(port) == connections, "its connections")
        after = host.client(process)
        for counter in ("tcp_moved_out", "tcp_moved_in"):
            self.assertGreaterEqual(after[counter] - before[counter], connections, counter)
        frames = after["rx_frames"]
        wait_until(lambda: host.client(process)["rx_frames"] > frames + 10, "bypassed frames")
        return took

    @over_roles((Roles(False, True), Roles(True, False)))
    def test_transfers_go_on(self, roles):
        for address in (self.server_host.address, self.server_host.address6):
            port = self.lab.new_port()
            server = self.serve(roles, self.server_host.python("echo_server.py", "epoll", port, "::"), port)
            load = self.background(self.client_host, self.client_host.python(
                "echo_until.py", address, port, CONNECTIONS), bypass=roles.client)
            host, process = (self.server_host, server) if roles.server else (self.client_host, load)
            wait_until(lambda: not load.alive() or host.established(port) == CONNECTIONS,
                       "the connections")
            took = [self.restart(host, process, port, CONNECTIONS) for _ in range(RESTARTS)]
            load.stop(signal.SIGINT)
            self.assertRegex(load.log(), rf"^{CONNECTIONS} connections: \d+ bytes right\n$")
            print(f"    the broker ended within {max(took):.2f} s", flush=True)

    def test_both_ends_at_once(self):
        port = self.lab.new_port()
        roles = Roles(True, True)
        server = self.serve(roles, self.server_host.python("echo_server.py", "poll", port), port)
        load = self.background(self.client_host, self.client_host.python(
            "echo_until.py", self.server_host.address, port, CONNECTIONS), bypass=True)
        wait_until(lambda: self.server_host.established(port) == CONNECTIONS, "the connections")
        for _ in range(RESTARTS):
            turns = [threading.Thread(target=self.end_broker, args=[host]) for host in self.lab.hosts]
            for turn in turns:
                turn.start()
            for turn in turns:
                turn.join()
            for host, process in ((self.client_host, load), (self.server_host, server)):
                host.start_broker()
                wait_until(lambda: host.client(process) and
                           host.established(port) == CONNECTIONS, "the connections to be back")
        load.stop(signal.SIGINT)
        self.assertRegex(load.log(), rf"^{CONNECTIONS} connections: \d+ bytes right\n$")

    def test_a_listener_accepts_all_the_time(self):
        port = self.lab.new_port()
        roles = Roles(False, True)
        server = self.serve(roles, self.server_host.python("echo_server.py", "epoll", port), port)
        visitor = self.background(self.client_host, self.client_host.python(
            "visitor.py", self.server_host.address, port))
        for _ in range(RESTARTS):
            time.sleep(0.3)
            self.end_broker(self.server_host)
            time.sleep(0.3)
            self.server_host.start_broker()
            wait_until(lambda: self.server_host.client(server), "the program to come back")
            accepted = self.server_host.client(server)["tcp_accepts"]
            wait_until(lambda: self.server_host.client(server)["tcp_accepts"] > accepted + 10,
                       "connections that are bypassed")
        visitor.stop(signal.SIGINT)
        self.assertRegex(visitor.log(), r"^\d+ visits\n$")
        self.assertGreater(self.server_host.client(server)["kernel_accepts"], 10)

    def test_datagrams_go_on(self):
        port = self.lab.new_port()
        server = self.serve(Roles(False, True), self.server_host.python("echo_server.py", "udp", port), port,
                            "udp")
        echo = self.client_host.python("echo_client.py", "udp", self.server_host.address, port)
        for _ in range(RESTARTS):
            with self.lab.traffic() as traffic:
                self.assertIn("ok\n", self.client_host.run(echo).out)
            self.assertGreater(traffic[1].udp_frames, 0)
            self.end_broker(self.server_host)
            self.assertIn("ok\n", self.client_host.run(echo).out)
            self.server_host.start_broker()
            wait_until(lambda: self.server_host.client(server), "the program to come back")

    def test_who_was_detached_stays_so(self):
        host, port = self.server_host, self.lab.new_port()
        server = self.serve(Roles(False, True), host.python("echo_server.py", "epoll", port), port)
        host.run([UNDERPASS, "detach", "-i", host.iface])
        self.end_broker(host)
        host.start_broker()
        wait_until(lambda: host.client(server), "the program to come back")
        self.assertTrue(host.stat()["clients"][0]["detached"])
        self.assertNotIn(port, host.bypassed_ports("tcp"))
        host.run([UNDERPASS, "attach", "-i", host.iface])
        self.assertIn(port, host.bypassed_ports("tcp"))

    def test_a_program_that_begins_in_between(self):
        """With the bare preload it is the kernel's; `underpass run` starts a broker, which the others find."""
        host = self.server_host
        first, second, third = (self.lab.new_port() for _ in range(3))
        server = self.serve(Roles(False, True), host.python("echo_server.py", "epoll", first), first)
        self.end_broker(host)
        self.serve(Roles(False, False), host.python("echo_server.py", "epoll", second), second,
                   environment={"LD_PRELOAD": LIBRARY, "UNDERPASS_IFACE": host.iface})
        self.serve(Roles(False, True), host.python("echo_server.py", "epoll", third), third)
        wait_until(lambda: {first, third} <= host.bypassed_ports("tcp"), "both to be bypassed")
        self.assertNotIn(second, host.bypassed_ports("tcp"))
        for port in (first, second, third):
            done = self.client_host.run(self.client_host.python("echo_client.py", "tcp", host.address, port))
            self.assertIn("ok\n", done.out)
        self.assertTrue(host.client(server))
        os.kill(host.stat()["broker_pid"], signal.SIGTERM)

    def test_a_stopped_program_does_not_keep_it(self):
        host, port = self.server_host, self.lab.new_port()
        server = self.serve(Roles(False, True), host.python("echo_server.py", "epoll", port), port)
        os.kill(server.pid, signal.SIGSTOP)
        began = time.monotonic()
        self.assertEqual(host.broker.stop(), 0)
        self.assertLess(time.monotonic() - began, 10)
        self.assertIn("1 program has not answered", host.broker.log())
        os.kill(server.pid, signal.SIGCONT)
        # It finds no broker, and lets go: it has no connection.
        wait_until(lambda: host.xdp_program_id() is None, "the XDP program to go")

    def test_of_a_killed_broker_programs_let_go_when_their_connections_have_ended(self):
        host, port = self.server_host, self.lab.new_port()
        server = self.serve(Roles(False, True), host.python("echo_server.py", "epoll", port), port)
        steps = self.background(self.client_host, self.client_host.python(
            "echo_steps.py", host.address, port, 30))
        wait_until(lambda: host.established(port) == 1, "the connection")
        host.broker.kill()
        # What is new is the kernel's, what there is stays.
        self.assertIn("ok\n", self.client_host.run(self.client_host.python(
            "echo_client.py", "tcp", host.address, port)).out)
        self.assertIsNotNone(host.xdp_program_id())
        steps.wait()
        self.assertEqual(steps.log(), "30 right\n")
        wait_until(lambda: host.xdp_program_id() is None, "the XDP program to go")
        host.start_broker()
        wait_until(lambda: port in host.bypassed_ports("tcp"), "the listener to be bypassed")
        self.assertIsNotNone(host.client(server))


if __name__ == "__main__":
    unittest.main()
