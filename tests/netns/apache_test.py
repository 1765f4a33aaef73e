"""apache_test.py - Apache with a process for each connection at a time (prefork)"""

import hashlib
import os
import random
import re
import unittest

from lab_case import LabCase, over_roles

FILE_BYTES = 3 << 20
REQUESTS = 400
CONFIGURATION = """
ServerName lab
PidFile {directory}/apache-{port}.pid
LoadModule mpm_prefork_module /usr/lib/apache2/modules/mod_mpm_prefork.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
Mutex file:{directory}
User www-data
Group www-data
ErrorLog /dev/stderr
StartServers 4
MinSpareServers 2
MaxSpareServers 8
MaxRequestWorkers 16
Listen 0.0.0.0:{port}
DocumentRoot {directory}/www
"""


class ApacheTest(LabCase):

    # Its children are not root's.
    broker_options = ("--allow", "www-data")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        os.mkdir(os.path.join(cls.lab.directory, "www"))
        data = random.Random(5).randbytes(FILE_BYTES)
        cls.digest = hashlib.sha256(data).hexdigest()
        cls.lab.write("www/file", data)
        cls.lab.write("www/index.html", "<p>hello</p>\n")

    def start(self, roles):
        port = self.lab.new_port()
        path = self.lab.write(f"apache-{port}.conf", CONFIGURATION.format(directory=self.lab.directory, port=port))
        self.serve(roles, ["/usr/sbin/apache2", "-D", "FOREGROUND", "-f", path], port,
                   start_new_session=True)  # it ends its whole group
        return f"http://{self.server_host.address}:{port}"

    @over_roles()
    def test_children_answer_what_they_accept(self, roles):
        url = self.start(roles)
        with self.proves(roles, frames=REQUESTS):
            done = self.call(roles, ["ab", "-q", "-n", str(REQUESTS), "-c", "8", url + "/index.html"])
        self.assertRegex(done.out, rf"Complete requests: +{REQUESTS}\n", done.describe())
        self.assertRegex(done.out, r"Failed requests: +0\n", done.describe())
        self.assertIsNone(re.search("Non-2xx", done.out), done.describe())

    @over_roles()
    def test_a_file_comes_whole(self, roles):
        url = self.start(roles)
        path = self.lab.new_file("fetched")
        with self.proves(roles, frames=30):
            self.call(roles, ["curl", "-sS", "--fail", "-o", path, url + "/file"])
        with open(path, "rb") as file:
            self.assertEqual(hashlib.sha256(file.read()).hexdigest(), self.digest)


if __name__ == "__main__":
    unittest.main()
