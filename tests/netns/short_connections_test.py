"""short_connections_test.py - more connections to one server in a minute than there are descriptors"""

import unittest

from lab_case import ALL_ROLES, LabCase, over_roles

COUNT = 3000
DESCRIPTORS = 1024


class ShortConnectionsTest(LabCase):

    @over_roles(tuple(ALL_ROLES))
    def test_all_come_about(self, roles):
        port = self.lab.new_port()
        self.serve(roles, self.server_host.python("echo_server.py", "epoll", port), port)
        with self.proves(roles, frames=7 * COUNT // 2):
            done = self.call(roles, self.client_host.python(
                "short_connections.py", self.server_host.address, port, COUNT, DESCRIPTORS))
        self.assertEqual(done.out, f"ok {COUNT}\n")


if __name__ == "__main__":
    unittest.main()
