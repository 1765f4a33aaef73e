"""nginx_test.py - nginx with curl and wrk"""

import hashlib
import os
import re
import unittest

from lab_case import LabCase, over_roles
from nginx_configuration import write_nginx_configuration

FILE_BYTES = 10 << 20


class NginxTest(LabCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        os.mkdir(os.path.join(cls.lab.directory, "www"))
        data = os.urandom(FILE_BYTES)
        cls.digest = hashlib.sha256(data).hexdigest()
        cls.lab.write("www/file", data)
        cls.lab.write("www/index.html", "<p>hello</p>\n")

    def start(self, roles, sendfile="off"):
        port = self.lab.new_port()
        path = write_nginx_configuration(self.lab, port, f"sendfile {sendfile};")
        self.serve(roles, ["/usr/sbin/nginx", "-e", "stderr", "-c", path], port)
        return f"http://{self.server_host.address}:{port}"

    def fetch(self, roles, url):
        with self.proves(roles, frames=100):
            path = self.lab.new_file("fetched")
            self.call(roles, ["curl", "-sS", "--fail", "-o", path, url + "/file"])
        with open(path, "rb") as file:
            data = file.read()
        os.unlink(path)
        self.assertEqual(len(data), FILE_BYTES)
        self.assertEqual(hashlib.sha256(data).hexdigest(), self.digest)

    @over_roles()
    def test_curl_fetches_ten_megabytes(self, roles):
        self.fetch(roles, self.start(roles))

    @over_roles()
    def test_curl_fetches_ten_megabytes_by_sendfile(self, roles):
        self.fetch(roles, self.start(roles, sendfile="on"))

    @over_roles()
    def test_curl_reuses_a_connection(self, roles):
        url = self.start(roles)
        with self.proves(roles, frames=5):
            done = self.call(roles, ["curl", "-sS", "--fail", "-w", "%{num_connects} ",
                                     *[f"{url}/index.html"] * 3])
        self.assertEqual(done.out, "<p>hello</p>\n1 <p>hello</p>\n0 <p>hello</p>\n0 ")

    @over_roles()
    def test_wrk_gets_only_answers(self, roles):
        url = self.start(roles)
        with self.proves(roles, frames=500):
            done = self.call(roles, ["wrk", "-t", "2", "-c", "20", "-d", "1s", url + "/index.html"])
        requests = re.search(r"(\d+) requests in", done.out)
        self.assertTrue(requests and int(requests.group(1)) > 0, done.describe())
        self.assertNotIn("Socket errors", done.out)
        self.assertNotIn("Non-2xx", done.out)


if __name__ == "__main__":
    unittest.main()
