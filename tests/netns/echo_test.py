"""echo_test.py - echo servers on poll, select and epoll, and on UDP: every byte comes back"""

import unittest

from lab_case import LabCase, over_roles


class EchoTest(LabCase):

    def echo(self, roles, kind, *load, frames):
        port = self.lab.new_port()
        protocol = "udp" if kind == "udp" else "tcp"
        self.serve(roles, self.server_host.python("echo_server.py", kind, port), port, protocol)
        address = self.server_host.address
        with self.proves(roles, protocol, frames):
            done = self.call(roles, self.client_host.python("echo_client.py", protocol, address, port,
                                                            *load))
        self.assertEqual(done.out, f"peers {{('{address}', {port})}}\nok\n")

    @over_roles()
    def test_poll(self, roles):
        self.echo(roles, "poll", 20, 200000, frames=200)

    @over_roles()
    def test_select(self, roles):
        self.echo(roles, "select", 20, 200000, frames=200)

    @over_roles()
    def test_epoll(self, roles):
        self.echo(roles, "epoll", 20, 200000, frames=200)

    @over_roles()
    def test_epoll_with_three_hundred_connections(self, roles):
        self.echo(roles, "epoll", 300, 2000, frames=1200)

    @over_roles()
    def test_one_connection_of_many_bytes(self, roles):
        self.echo(roles, "epoll", 1, 8 << 20, frames=200)

    @over_roles()
    def test_udp(self, roles):
        self.echo(roles, "udp", 50, frames=400)


if __name__ == "__main__":
    unittest.main()
