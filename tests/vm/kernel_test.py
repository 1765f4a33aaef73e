"""kernel_test.py - Debian's own kernel: what doctor and stat say there, and programs on it"""

import glob
import os
import unittest

from vm_case import ROOT, UNDERPASS, LabCase, needs_vm, only
import echo_test  # vm_case has set the path
import redis_test

KERNELS = os.path.join(ROOT, "build", "deps", "linux-*", "boot", "vmlinuz-*")


@needs_vm
class KernelTest(LabCase):

    with_brokers = False

    def test_the_kernel_is_debians(self):
        fetched = {path.partition("vmlinuz-")[2] for path in glob.glob(KERNELS)}
        self.assertIn(os.uname().release, fetched)
        self.assertIn("Debian", os.uname().version)

    def test_doctor_and_stat_say_what_is_there(self):
        done = self.client_host.run([UNDERPASS, "doctor", "-i", self.client_host.iface])
        self.assertIn("driver veth: native XDP", done.out)
        self.assertTrue(done.out.endswith("\nbypass will work\n"), done.out)
        self.client_host.start_broker()
        stat = self.client_host.stat()
        self.assertEqual((stat["mode"], stat["copy"], stat["queues"]), ("driver", "copy", 1))


@needs_vm
class Echo(echo_test.EchoTest):
    """On the veth pair of the lab."""


@needs_vm
class Redis(redis_test.RedisTest):
    """On the veth pair of the lab."""


load_tests = only(__name__, "KernelTest", "Echo.test_epoll__bypass_to_bypass",
                  "Echo.test_udp__bypass_to_kernel",
                  "Redis.test_benchmark_with_one_connection__bypass_to_bypass")


if __name__ == "__main__":
    unittest.main()
