"""processes_test.py - servers whose connections are other processes' than those that accept them"""

import hashlib
import os
import random
import unittest

from lab_case import LabCase, PYTHON, Roles, over_roles, wait_until
from lab import BUILD

ROLES = (Roles(False, False), Roles(False, True), Roles(True, True))
CLEARED_EXEC = os.path.join(BUILD, "tests", "netns", "programs", "cleared_exec")
CONNECTIONS = 12
BYTES = 1_000_000


class ProcessesTest(LabCase):

    def check_moves(self, roles, traffic, connections):
        """The connections were the stack's first, and the kernel's then."""
        if not roles.server:
            return
        self.assertGreaterEqual(traffic[1].tcp_frames, 2 * connections, traffic[1].describe())
        self.assertGreater(traffic[1].kernel_tcp, 0, traffic[1].describe())

    def echo(self, roles, server, port, *prefix):
        process = self.serve(roles, server, port, stop=False)
        with self.lab.traffic() as traffic:
            done = self.call(roles, self.client_host.python(
                "echo_load.py", self.server_host.address, port, CONNECTIONS, BYTES, *prefix))
        self.assertEqual(done.out, f"{CONNECTIONS} x {BYTES} right\n")
        self.check_moves(roles, traffic, CONNECTIONS)
        if roles.server:
            moved = self.server_host.client(process)["tcp_moved_out"]
            self.assertEqual(moved, CONNECTIONS)

    @over_roles(ROLES)
    def test_a_process_for_each_connection(self, roles):
        port = self.lab.new_port()
        self.echo(roles, self.server_host.python("forking_server.py", port), port)

    @over_roles(ROLES)
    def test_connections_are_passed_to_workers(self, roles):
        port = self.lab.new_port()
        self.echo(roles, self.server_host.python("passing_server.py", port), port, "01")

    @over_roles(ROLES)
    def test_socat_runs_a_program_for_each_connection(self, roles):
        port = self.lab.new_port()
        self.echo(roles, ["socat", f"TCP4-LISTEN:{port},reuseaddr,fork,backlog=64", "EXEC:cat,nofork"],
                  port)

    @over_roles(ROLES)
    def test_a_program_is_started_with_a_listener_that_has_a_connection(self, roles):
        port = self.lab.new_port()
        process = self.serve(roles, ["systemd-socket-activate", "-l", f"0.0.0.0:{port}",
                                     *self.server_host.python("activated.py")], port, stop=False)
        load = self.client_host.python("echo_load.py", self.server_host.address, port, CONNECTIONS, BYTES)
        # Those that come before it accepts become the kernel's.
        self.assertEqual(self.call(roles, load).out, f"{CONNECTIONS} x {BYTES} right\n")
        with self.proves(roles, frames=50):
            self.assertEqual(self.call(roles, load).out, f"{CONNECTIONS} x {BYTES} right\n")
        self.assertTrue(process.alive(), process.describe())

    @over_roles((Roles(False, False), Roles(True, False)))
    def test_a_program_with_an_environment_of_its_own_is_under_underpass_too(self, roles):
        def environments(*given):
            """{way to start a program: the lines of env(1)}"""
            ways = {}
            for line in self.call(roles, [CLEARED_EXEC, *given]).out.splitlines():
                if "=" in line:
                    ways[way].append(line)
                else:
                    ways[way := line] = []
            return ways

        preload = [f"LD_PRELOAD={os.path.join(BUILD, 'libunderpass.so')}",
                   f"UNDERPASS_IFACE={self.client_host.iface}"] if roles.client else []
        self.assertEqual(len(environments()), 11)
        for given in ((), ("A=1",), ("A=1", "LANG=C")):
            for way, lines in environments(*given).items():
                self.assertEqual(sorted(lines), sorted([*given, *preload]), way)
        # Who takes one of them away means it.
        for given in (["LD_PRELOAD="], ["UNDERPASS_IFACE=up1"]):
            for way, lines in environments(*given).items():
                self.assertEqual(lines, given, way)

    @over_roles(ROLES)
    def test_a_cgi_has_the_connection_as_its_output(self, roles):
        directory = os.path.join(self.lab.directory, f"cgi-{roles.name}")
        os.makedirs(os.path.join(directory, "cgi-bin"))
        script = os.path.join(directory, "cgi-bin", "bytes.py")
        with open(script, "w", encoding="utf-8") as file:
            file.write(f"#!{PYTHON}\nimport random, sys\n"
                       "sys.stdout.write('Content-Type: text/plain\\r\\n\\r\\n')\nsys.stdout.flush()\n"
                       f"sys.stdout.buffer.write(random.Random(7).randbytes({BYTES}))\n")
        os.chmod(script, 0o755)
        port = self.lab.new_port()
        server = self.serve(roles, [PYTHON, "-m", "http.server", "--cgi", port, "--directory", directory],
                            port, stop=False)
        path = self.lab.new_file("answer")
        with self.lab.traffic() as traffic:
            for _ in range(3):
                self.call(roles, ["curl", "-sS", "--fail", "-o", path,
                                  f"http://{self.server_host.address}:{port}/cgi-bin/bytes.py"])
                wanted = hashlib.sha256(random.Random(7).randbytes(BYTES)).hexdigest()
                with open(path, "rb") as file:
                    self.assertEqual(hashlib.sha256(file.read()).hexdigest(), wanted)
        self.check_moves(roles, traffic, 3)
        wait_until(server.alive, "the server, which goes on")


if __name__ == "__main__":
    unittest.main()
