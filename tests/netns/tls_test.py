"""tls_test.py - TLS: openssl s_server and s_client, and a server of Python with a thread per connection"""

import hashlib
import os
import unittest

from lab_case import LabCase, over_roles
from lab import sh

FILE_BYTES = 3 << 20


class TlsTest(LabCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key, cls.certificate = (os.path.join(cls.lab.directory, name) for name in ("key", "certificate"))
        sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
           "-subj", "/CN=lab", "-days", "2", "-keyout", cls.key, "-out", cls.certificate)
        data = os.urandom(FILE_BYTES)
        cls.digest = hashlib.sha256(data).hexdigest()
        cls.www = os.path.join(cls.lab.directory, "tls-www")
        os.mkdir(cls.www)
        cls.lab.write("tls-www/file", data)

    def s_server(self, roles, *more):
        port = self.lab.new_port()
        self.serve(roles, ["openssl", "s_server", "-accept", f"0.0.0.0:{port}", "-key", self.key, "-cert",
                           self.certificate, *more], port, stop=False, cwd=self.www)
        return port

    def s_client(self, port):
        return ["openssl", "s_client", "-connect", f"{self.server_host.address}:{port}", "-CAfile",
                self.certificate, "-verify_return_error", "-quiet", "-no_ign_eof"]

    @over_roles()
    def test_s_client_talks_with_s_server(self, roles):
        port = self.s_server(roles, "-rev")
        with self.proves(roles, frames=6):
            done = self.call(roles, [*self.s_client(port)[:-1], "-ign_eof"], input="abcdef\nCLOSE\n")
        self.assertIn("fedcba\n", done.out, done.describe())

    @over_roles()
    def test_curl_fetches_a_file_from_s_server(self, roles):
        port = self.s_server(roles, "-WWW")
        path = self.lab.new_file("fetched")
        # -WWW speaks HTTP/1.0, and ends at the end of the connection.
        with self.proves(roles, frames=50):
            self.call(roles, ["curl", "-sS", "--fail", "--http0.9", "--insecure", "-o", path,
                              f"https://{self.server_host.address}:{port}/file"])
        with open(path, "rb") as file:
            self.assertEqual(hashlib.sha256(file.read()).hexdigest(), self.digest)

    @over_roles()
    def test_threads_serve_many_connections(self, roles):
        port = self.lab.new_port()
        self.serve(roles, self.server_host.python("tls_threads.py", "server", port, self.certificate, self.key),
                   port, stop=False)
        with self.proves(roles, frames=200):
            done = self.call(roles, self.client_host.python(
                "tls_threads.py", "client", port, self.certificate, self.server_host.address))
        self.assertEqual(done.out, "120 answers ok\n", done.describe())


if __name__ == "__main__":
    unittest.main()
