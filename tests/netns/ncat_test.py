"""ncat_test.py - ncat and socat as plumbing between files and sockets, over TCP and UDP"""

import hashlib
import os
import subprocess
import unittest

from lab_case import LabCase, over_roles, wait_until

FILE_BYTES = 4 << 20


class NcatTest(LabCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        data = os.urandom(FILE_BYTES)
        cls.digest = hashlib.sha256(data).hexdigest()
        cls.source = cls.lab.write("source", data)

    def assert_whole(self, path):
        with open(path, "rb") as file:
            self.assertEqual(hashlib.sha256(file.read()).hexdigest(), self.digest)

    def send_to(self, roles, server, port, client):
        """The file into the client's stdin, and what the server writes to its stdout."""
        path = self.lab.new_file("received")
        with open(path, "wb") as out, open(self.source, "rb") as source:
            process = self.serve(roles, server, port, stop=False, stdout=out)
            with self.proves(roles, frames=50):
                self.call(roles, client, stdin=source)
                self.assertEqual(process.wait(), 0, process.describe())
        self.assert_whole(path)

    @over_roles()
    def test_file_through_ncat(self, roles):
        port = self.lab.new_port()
        self.send_to(roles, ["ncat", "-l", "0.0.0.0", port, "--recv-only"], port,
                     ["ncat", "--send-only", self.server_host.address, port])

    @over_roles()
    def test_file_through_socat(self, roles):
        port = self.lab.new_port()
        self.send_to(roles, ["socat", "-u", f"TCP4-LISTEN:{port},reuseaddr", "STDOUT"], port,
                     ["socat", "-u", "STDIN", f"TCP4:{self.server_host.address}:{port}"])

    @over_roles()
    def test_ncat_exchanges_datagrams(self, roles):
        port = self.lab.new_port()
        self.serve(roles, self.server_host.python("echo_server.py", "udp", port), port, "udp", stop=False)
        with self.proves(roles, "udp", frames=20):
            client = self.background(self.client_host, ["ncat", "-u", self.server_host.address, port],
                                     roles.client, stdin=subprocess.PIPE)
            said = ""
            for number in range(20):
                client.popen.stdin.write(f"datagram {number}\n".encode())
                client.popen.stdin.flush()
                said += f"datagram {number}\n"
                wait_until(lambda: client.log() == said or not client.alive(), "the echo")
        client.popen.stdin.close()
        self.assertEqual(client.log(), said)


if __name__ == "__main__":
    unittest.main()
