"""memcached_test.py - memcached with four threads, as root and as a user that has given root up"""

import unittest

from lab_case import LabCase, over_roles


class MemcachedTest(LabCase):

    def run_as(self, roles, user):
        port = self.lab.new_port()
        self.serve(roles, ["memcached", "-t", 4, "-u", user, "-p", port, "-U", 0, "-l", "0.0.0.0"], port)
        with self.proves(roles, frames=1000):
            done = self.call(roles, self.client_host.python("memcached_client.py",
                                                            self.server_host.address, port))
        self.assertEqual(done.out, "192 values ok\n")

    @over_roles()
    def test_four_threads_answer_many_connections(self, roles):
        self.run_as(roles, "root")

    @over_roles()
    def test_four_threads_answer_without_root(self, roles):
        self.run_as(roles, "nobody")


if __name__ == "__main__":
    unittest.main()
