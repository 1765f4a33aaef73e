"""haproxy_test.py - haproxy, whose new process takes the listeners of the old one over (expose-fd listeners)"""

import signal
import unittest

from lab_case import LabCase, over_roles, wait_until

RELOADS = 3
CONFIGURATION = """
global
  master-worker
  nbthread 2
  stats socket {directory}/haproxy-{port}.sock mode 600 level admin expose-fd listeners
defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
frontend front
  bind 0.0.0.0:{port}
  default_backend back
backend back
  http-request return status 200 content-type text/plain string hello
"""


class HaproxyTest(LabCase):

    def start(self, roles):
        port = self.lab.new_port()
        path = self.lab.write(f"haproxy-{port}.cfg", CONFIGURATION.format(directory=self.lab.directory, port=port))
        process = self.serve(roles, ["/usr/sbin/haproxy", "-W", "-db", "-f", path], port)
        return port, process

    @over_roles()
    def test_a_reload_under_load_loses_no_connection(self, roles):
        port, process = self.start(roles)
        # A connection for each request, until it is told to stop.
        with self.lab.traffic() as traffic:
            load = self.background(self.client_host, self.client_host.python(
                "one_request_each.py", self.server_host.address, port), roles.client)
            wait_until(lambda: "100 right" in load.log(), "the load")
            for number in range(RELOADS):
                process.popen.send_signal(signal.SIGUSR2)
                # It is deaf to the next signal before that.
                wait_until(lambda: process.log().count("exited with code 0") > number, "haproxy's old worker to end")
                seen = load.log().count("100 right")
                wait_until(lambda: not load.alive() or load.log().count("100 right") > seen + 1,
                           "requests after the reload")
            load.popen.send_signal(signal.SIGTERM)
            self.assertEqual(load.wait(), 0, load.describe())
        self.assertTrue(process.alive(), process.describe())
        for index, one in enumerate(traffic):
            if roles.of(index):
                # What comes while the one leaves and the other is not yet there is the kernel's.
                self.assertGreater(one.tcp_frames, 5 * one.kernel_opens + 500, one.describe())


if __name__ == "__main__":
    unittest.main()
