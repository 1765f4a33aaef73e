"""http_server_test.py - `python3 -m http.server` with curl and urllib"""

import hashlib
import os
import unittest

from lab_case import PYTHON, LabCase, over_roles

FILE_BYTES = 2 << 20


class HttpServerTest(LabCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        data = os.urandom(FILE_BYTES)
        cls.digest = hashlib.sha256(data).hexdigest()
        cls.www = os.path.join(cls.lab.directory, "www")
        os.mkdir(cls.www)
        cls.lab.write("www/file", data)

    def start(self, roles):
        port = self.lab.new_port()
        # It has no handler for SIGTERM, and SIGINT ends it with a trace: killed.
        self.serve(roles, [PYTHON, "-u", "-m", "http.server", "--bind", "0.0.0.0", "--directory",
                           self.www, port], port, stop=False)
        return f"http://{self.server_host.address}:{port}/file"

    @over_roles()
    def test_curl(self, roles):
        url = self.start(roles)
        path = self.lab.new_file("fetched")
        with self.proves(roles, frames=20):
            self.call(roles, ["curl", "-sS", "--fail", "-o", path, url])
        with open(path, "rb") as file:
            self.assertEqual(hashlib.sha256(file.read()).hexdigest(), self.digest)

    @over_roles()
    def test_urllib(self, roles):
        url = self.start(roles)
        with self.proves(roles, frames=60):
            done = self.call(roles, self.client_host.python("fetch.py", url, url, url))
        self.assertEqual(done.out, f"200 {self.digest}\n" * 3)

    @over_roles()
    def test_missing_file_is_404(self, roles):
        url = self.start(roles)
        with self.proves(roles, frames=3):
            done = self.call(roles, ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}",
                                     url + "-not"])
        self.assertEqual(done.out, "404")


if __name__ == "__main__":
    unittest.main()
