"""workers_test.py - servers of several processes that accept at one port"""

import contextlib
import os
import re
import signal
import threading
import unittest

from lab_case import LabCase, Roles, over_roles, wait_until
from nginx_configuration import A_SOCKET_FOR_EACH, TWO_LISTENERS, write_nginx_configuration

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

    def listeners(self, port):
        return [one for one in self.server_host.sockets() if one["local_port"] == port and one["state"] == "LISTEN"]


class NginxWorkersTest(WorkersCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        os.mkdir(os.path.join(cls.lab.directory, "www"))
        cls.lab.write("www/index.html", "<p>hello</p>\n")

    def start(self, roles, listen=TWO_LISTENERS, directive="keepalive_requests 100;"):
        port = self.lab.new_port()
        self.configuration = write_nginx_configuration(
            self.lab, port, directive, listen, f"worker_processes {WORKERS};")
        self.serve(roles, self.nginx(), port)
        if roles.server:
            # Each worker has a listener of either family.
            wait_until(lambda: len(self.listeners(port)) >= 2 * WORKERS, "all workers")
        return f"http://{self.server_host.address}:{port}/index.html"

    def nginx(self, *more):
        return ["/usr/sbin/nginx", "-e", "stderr", "-c", self.configuration, *more]

    def wrk(self, roles, url, seconds, connections=40):
        done = self.call(roles, ["wrk", "-t", "2", "-c", connections, "-d", f"{seconds}s", "--timeout", "20s", url])
        requests = re.search(r"(\d+) requests in", done.out)
        self.assertTrue(requests and int(requests.group(1)) > 0, done.describe())
        self.assertNotIn("Socket errors", done.out)
        self.assertNotIn("Non-2xx", done.out)
        return int(requests.group(1))

    @over_roles(SERVER_ROLES)
    def test_all_workers_serve(self, roles):
        url = self.start(roles)
        with self.proves(roles, frames=500):
            self.wrk(roles, url, 2)
        self.check_all_accept(roles, "nginx", WORKERS)

    @over_roles(SERVER_ROLES)
    def test_all_workers_serve_with_a_socket_each(self, roles):
        url = self.start(roles, A_SOCKET_FOR_EACH)
        with self.proves(roles, frames=500):
            self.wrk(roles, url, 2)
        self.check_all_accept(roles, "nginx", WORKERS)

    @over_roles(SERVER_ROLES)
    def test_a_worker_that_is_killed_leaves_its_share_to_the_others(self, roles):
        url = self.start(roles)
        self.wrk(roles, url, 1)
        if roles.server:
            counters = self.counters("nginx")
            victim = next(pid for pid, one in counters.items() if one["tcp_accepts"] != 0)
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: victim not in self.counters("nginx"), "the broker to notice")
        with self.proves(roles, frames=500):
            self.wrk(roles, url, 1)

    @over_roles(SERVER_ROLES)
    def test_a_reload_under_load_fails_no_request(self, roles):
        # A worker that leaves closes idle connections, and resets the request that comes at this moment: on
        # the kernel, too. So each connection has one request.
        url = self.start(roles, directive="keepalive_timeout 0;")
        stop = threading.Event()
        reloads = []

        def reload():
            while not stop.wait(0.7):
                done = self.server_host.run(self.nginx("-s", "reload"), bypass=roles.server, check=False)
                reloads.append(done.status)
        reloader = threading.Thread(target=reload)
        reloader.start()
        with contextlib.ExitStack() as after:
            after.callback(reloader.join)
            after.callback(stop.set)
            self.wrk(roles, url, 4)
        self.assertGreaterEqual(len(reloads), 2)
        self.assertEqual(set(reloads), {0})


class PreforkTest(WorkersCase):

    @over_roles(SERVER_ROLES)
    def test_children_accept_at_their_parents_listener(self, roles):
        port = self.lab.new_port()
        self.serve(roles, self.server_host.python("prefork_server.py", port, WORKERS), port)
        # Half of them wait until a worker has time, and may be another worker's then.
        done = self.call(roles, self.client_host.python(
            "echo_load.py", self.server_host.address, port, 2 * WORKERS, 200_000))
        self.assertEqual(done.out, f"{2 * WORKERS} x 200000 right\n")
        if roles.server:
            total = self.server_host.stat()["totals"]
            self.assertGreaterEqual(total["tcp_accepts"], WORKERS, total)

    @over_roles(SERVER_ROLES)
    def test_nobody_waits_for_a_busy_process_beside_an_idle_one(self, roles):
        """As many connections as processes, each for as long as the others."""
        port = self.lab.new_port()
        self.serve(roles, self.server_host.python("prefork_server.py", port, WORKERS), port)
        done = self.call(roles, self.client_host.python(
            "held_connections.py", self.server_host.address, port, WORKERS, 10))
        self.assertEqual(done.out, f"10 x {WORKERS} at once\n")


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
