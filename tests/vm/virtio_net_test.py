"""virtio_net_test.py - virtio_net as the interface's driver, as most virtual machines have it

The virtual machine has two such cards with a wire between them; each host of the lab gets one.
"""

import os
import unittest

from vm_case import UNDERPASS, Lab, LabCase, LabError, needs_vm, only, sh, wait_until
import echo_test  # vm_case has set the path
import redis_test

CLASS = "/sys/class/net"


def virtio_cards():
    """The names of those that no lab has."""
    drivers = {name: f"{CLASS}/{name}/device/driver" for name in sorted(os.listdir(CLASS))}
    return [name for name, driver in drivers.items()
            if os.path.basename(os.path.realpath(driver)) == "virtio_net"]


class VirtioLab(Lab):
    """Two hosts with a card each. When a host is removed, its card comes back by itself."""

    def make_link(self, queues):
        if queues != 1:
            raise LabError("the cards have one queue")
        # A namespace is taken down in the background.
        cards = wait_until(lambda: virtio_cards() if len(virtio_cards()) == 2 else None,
                           "two cards of virtio_net")
        for host, card in zip(self.hosts, cards):
            sh("ip", "link", "set", card, "netns", host.namespace)
            sh("ip", "-n", host.namespace, "link", "set", card, "name", host.iface)


class OnVirtio:

    lab_type = VirtioLab


@needs_vm
class VirtioNetTest(OnVirtio, LabCase):

    def test_xdp_runs_in_the_driver(self):
        for host in self.lab.hosts:
            self.assertEqual(host.stat()["mode"], "driver")
            done = host.run([UNDERPASS, "doctor", "-i", host.iface])
            self.assertIn("driver virtio_net: native XDP", done.out)
            link = host.run(["ip", "-details", "link", "show", host.iface])
            self.assertIn("prog/xdp ", link.out)


@needs_vm
class Echo(OnVirtio, echo_test.EchoTest):
    """On the cards."""


@needs_vm
class Redis(OnVirtio, redis_test.RedisTest):
    """On the cards."""


load_tests = only(__name__, "VirtioNetTest", "Echo.test_epoll__bypass_to_bypass",
                  "Echo.test_select__kernel_to_bypass",
                  "Redis.test_benchmark_with_pipelining__bypass_to_bypass")


if __name__ == "__main__":
    unittest.main()
