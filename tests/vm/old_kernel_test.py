"""old_kernel_test.py - a kernel before 6.4, as Debian 12 has it, is refused by name; programs go on

docs/decisions/013-linux-6.4.md says why.
"""

import unittest

from vm_case import KERNEL, UNDERPASS, LabCase, needs_vm
from lab import LIBRARY  # vm_case has set the path


@needs_vm
class OldKernelTest(LabCase):

    with_brokers = False

    def test_doctor_says_what_is_missing(self):
        done = self.client_host.run([UNDERPASS, "doctor", "-i", self.client_host.iface], check=False)
        self.assertEqual(done.status, 1, done.describe())
        self.assertIn("missing  Linux 6.1 is too old: use Linux 6.4 or later", done.out)

    def test_run_says_it_in_one_line(self):
        done = self.client_host.run(["true"], bypass=True, check=False)
        self.assertEqual((done.status, done.out), (125, ""), done.describe())
        self.assertEqual(done.err.count("\n"), 1, done.err)
        self.assertIn("Linux 6.1 is too old", done.err)
        self.assertIsNone(self.client_host.xdp_program_id())

    def test_preloaded_programs_run_on_the_kernel(self):
        port = self.lab.new_port()
        preloaded = {"environment": {"LD_PRELOAD": LIBRARY, "UNDERPASS_IFACE": self.client_host.iface}}
        self.serve(KERNEL, self.server_host.python("echo_server.py", "epoll", port), port, **preloaded)
        done = self.call(KERNEL, self.client_host.python(
            "echo_client.py", "tcp", self.server_host.address, port, 4, 20000), **preloaded)
        self.assertTrue(done.out.endswith("\nok\n"), done.describe())


if __name__ == "__main__":
    unittest.main()
