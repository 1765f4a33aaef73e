"""wire_lab.py - a lab whose two hosts are joined by a bad wire (programs/wire.cpp) in a namespace of its own"""

import os

from lab import BUILD, PREFIX, Host, Lab, Process, remove_namespace, sh, wait_until

WIRE = os.path.join(BUILD, "tests", "netns", "programs", "wire")


class WireLab(Lab):
    """TCP frames are lost and late, both ways."""

    seed = 1

    def make_link(self, queues):
        self.wire = f"{PREFIX}-{os.getpid()}-{os.urandom(3).hex()}-w"
        sh("ip", "netns", "add", self.wire)
        count = ["numtxqueues", str(queues), "numrxqueues", str(queues)]
        for host in self.hosts:
            end = f"end{host.index}"
            sh("ip", "-n", host.namespace, "link", "add", host.iface, *count, "type", "veth",
               "peer", end, *count, "netns", self.wire)
            # Nothing of its own comes from the wire, and it takes no frame larger than the MTU nor half a checksum.
            sh("ip", "-n", self.wire, "link", "set", end, "addrgenmode", "none", "promisc", "on", "up")
            host.run(["ethtool", "-K", host.iface, "tx", "off", "tso", "off", "gso", "off"])
        between = Host(self, 2, self.wire, "0.0.0.0")
        argv = between.argv([WIRE, "end0", "end1", self.seed])
        self.carrier = Process(between, argv, self.new_file("wire.log"))
        self.processes.append(self.carrier)
        wait_until(lambda: "carries" in self.carrier.log(), "the wire carries")

    def remove(self):
        super().remove()
        if getattr(self, "wire", None) is not None:
            wire, self.wire = self.wire, None
            remove_namespace(wire)
