"""addresses_test.py - an interface with two addresses: one port, two programs, each on its own address"""

import subprocess
import unittest

from lab_case import ALL_ROLES, KERNEL, LabCase, PYTHON, Roles, over_roles, wait_until

# A connection from an address and port of its own; it says "ready", and echoes once more when told to.
CLIENT = """
import socket, sys
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])), source_address=(sys.argv[3], int(sys.argv[4])))
for word in ("ready", "again"):
    sock.sendall(word.encode())
    assert sock.recv(100) == word.encode()
    print(word)
    sys.stdin.readline()
"""

# An echo server with a listener of its own on each address.
TWO_LISTENERS = """
import socket, sys, threading
def serve(listener):
    while True:
        sock, _ = listener.accept()
        while data := sock.recv(65536):
            sock.sendall(data)
        sock.close()
listeners = [socket.create_server((address, int(sys.argv[1]))) for address in sys.argv[2:]]
for listener in listeners:
    threading.Thread(target=serve, args=[listener]).start()
print("ready")
"""


class AddressesTest(LabCase):
    """roles.server: who has the first address; roles.client: who has the second."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.first = cls.server_host.address
        cls.second = cls.first.rpartition(".")[0] + ".200"
        cls.server_host.run(["ip", "address", "add", f"{cls.second}/24", "dev", cls.server_host.iface])

    def start_server(self, address, port, kind, bypass):
        argv = self.server_host.python("echo_server.py", kind, port, address)
        server = self.background(self.server_host, argv, bypass)
        protocol = "udp" if kind == "udp" else "tcp"

        def serves():
            self.assertTrue(server.alive(), server.describe())
            listing = self.server_host.run(["cat", f"/proc/net/{protocol}"]).out
            return self.table_name(address, port) in listing and (not bypass or any(
                one["local_address"] == address and one["local_port"] == port and one["pid"] == server.pid
                for one in self.server_host.sockets()))
        wait_until(serves, f"port {port} of {address}")
        return server

    @staticmethod
    def table_name(address, port):
        """As in /proc/net/tcp."""
        return "".join(f"{int(part):02X}" for part in reversed(address.split("."))) + f":{port:04X}"

    def check_echo(self, address, port, protocol):
        client = self.client_host.python("echo_client.py", protocol, address, port)
        done = self.client_host.run(client)
        self.assertEqual(done.out, f"peers {{('{address}', {port})}}\nok\n")

    def check_both(self, roles, kind):
        protocol = "udp" if kind == "udp" else "tcp"
        for order in (1, -1):
            port = self.lab.new_port()
            servers = [(self.first, roles.server), (self.second, roles.client)][::order]
            running = [self.start_server(address, port, kind, bypass) for address, bypass in servers]
            for address, bypass in servers:
                with self.lab.traffic() as traffic:
                    self.check_echo(address, port, protocol)
                frames = getattr(traffic[1], f"{protocol}_frames")
                kernel = getattr(traffic[1], f"kernel_{protocol}")
                self.assertEqual((frames > 0, kernel > 0), (bypass, not bypass), traffic[1].describe())
            # The one that stays keeps its own.
            running[0].kill()
            self.check_echo(servers[1][0], port, protocol)

    @over_roles(tuple(ALL_ROLES))
    def test_a_port_is_another_programs_on_another_address(self, roles):
        self.check_both(roles, "epoll")

    @over_roles(tuple(ALL_ROLES))
    def test_a_udp_port_is_another_programs_on_another_address(self, roles):
        self.check_both(roles, "udp")

    @over_roles((KERNEL, Roles(False, True)))
    def test_one_program_on_all_addresses_has_both(self, roles):
        port = self.lab.new_port()
        self.serve(roles, self.server_host.python("echo_server.py", "epoll", port), port)
        for address in (self.first, self.second):
            with self.lab.traffic() as traffic:
                self.check_echo(address, port, "tcp")
            self.assertEqual(traffic[1].tcp_frames > 0, roles.server, traffic[1].describe())

    @over_roles((KERNEL, Roles(False, True)))
    def test_one_program_on_each_address_has_both(self, roles):
        port = self.lab.new_port()
        argv = [PYTHON, "-u", "-c", TWO_LISTENERS, port, self.first, self.second]
        server = self.background(self.server_host, argv, roles.server)
        wait_until(lambda: server.log() == "ready\n" or not server.alive(), "two listeners")
        for address in (self.first, self.second):
            with self.lab.traffic() as traffic:
                self.check_echo(address, port, "tcp")
            self.assertEqual(traffic[1].tcp_frames > 0, roles.server, traffic[1].describe())

    @over_roles((KERNEL, Roles(False, True)))
    def test_a_connection_leaves_its_port_on_the_other_address_alone(self, roles):
        port, far_port = self.lab.new_port(), self.lab.new_port()
        far = self.background(self.client_host, self.client_host.python("echo_server.py", "epoll", far_port))
        self.client_host.wait_for_port(far_port, far)
        client = self.background(
            self.server_host, [PYTHON, "-u", "-c", CLIENT, self.client_host.address, far_port, self.first, port],
            roles.server, stdin=subprocess.PIPE)
        wait_until(lambda: client.log() == "ready\n" or not client.alive(), "a connection")
        self.start_server(self.second, port, "epoll", False)
        self.check_echo(self.second, port, "tcp")
        client.popen.stdin.write(b"\n\n")
        client.popen.stdin.close()
        self.assertEqual(client.wait(), 0, client.describe())


if __name__ == "__main__":
    unittest.main()
