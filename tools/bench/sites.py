"""sites.py - where a measurement runs: which end is under Underpass, and which core each end is on

A lab for each setup, made when first asked for: the kernel is measured on an interface that never
had an XDP program, because one changes what veth does (no TSO towards it, frames copied).
"""

import contextlib
import os
import sys
from typing import NamedTuple

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))

import lab  # noqa: E402  (the path comes first)

# Only a program that hangs takes longer; one hanging case is not to cost the run.
HANG_S = 20

ONE_CORE = "one core"
OWN_CORES = "own cores"


class Setup(NamedTuple):
    """Who is under Underpass. Without offloads: no TSO, GSO and GRO on either interface. Without
    preload: the programs bypass the kernel themselves (the Socket class)."""

    name: str
    client: bool
    server: bool
    offloads: bool = True
    preload: bool = True

    @property
    def bypasses(self):
        return self.client or self.server


KERNEL = Setup("kernel", False, False)
KERNEL_PLAIN = Setup("kernel, no offloads", False, False, offloads=False)
RAW = Setup("raw AF_XDP", False, False)
BOTH = Setup("Underpass", True, True)
CLASS = Setup("Underpass, the class", True, True, preload=False)
SERVER_ONLY = Setup("Underpass, server only", False, True)
CLIENT_ONLY = Setup("Underpass, client only", True, False)


class Counts(NamedTuple):
    """What passed XDP into stacks of ours, on both hosts together, and the proof's verdict."""

    frames: int
    bytes: int
    # None: each end went the way that it should. Else which did not.
    complaint: str

    def as_json(self):
        return {"frames": self.frames, "bytes": self.bytes, "complaint": self.complaint}


class Watch:
    """Counters around a run. Ends are judged as the tests judge them (tests/netns/lab_case.py)."""

    KERNEL_SHARE = 0.02
    KERNEL_SLACK = 64
    # The sender of a UDP stream receives only what controls it.
    FEWEST_FRAMES = 5

    def __init__(self, site):
        self.site = site
        self.traffic = [lab.Traffic(host) for host in site.hosts]

    def finish(self):
        for one in self.traffic:
            one.finish()
        complaints = [self.complaint(index) for index in (0, 1)]
        return Counts(sum(self.redirected(one, "frames") for one in self.traffic),
                      sum(self.redirected(one, "bytes") for one in self.traffic),
                      "; ".join(filter(None, complaints)) or None)

    @staticmethod
    def redirected(traffic, unit):
        return getattr(traffic, f"tcp_{unit}") + getattr(traffic, f"udp_{unit}")

    def complaint(self, index):
        traffic = self.traffic[index]
        frames = self.redirected(traffic, "frames")
        kernel = traffic.kernel_tcp + traffic.kernel_udp
        who = ("client", "server")[index]
        if not self.site.bypassed[index]:
            return f"{who}: {frames} frames redirected" if frames else None
        if frames < self.FEWEST_FRAMES:
            return f"{who}: only {frames} frames through AF_XDP"
        # A program that ends gives its connections to the kernel: a few segments each, and no opening.
        share = 1 if traffic.tcp_frames and traffic.kernel_opens == 0 else self.KERNEL_SHARE
        if kernel > frames * share + self.KERNEL_SLACK:
            return f"{who}: {kernel} segments through the kernel"
        return None


class Site:
    """Client and server of one setup, each pinned."""

    def __init__(self, setup, made_lab, placement, cpus, options=()):
        self.options = options
        self.setup, self.lab, self.placement = setup, made_lab, placement
        self.hosts = self.client, self.server = made_lab.hosts
        self.bypassed = (setup.client, setup.server)
        self.cpus = (cpus[0] if placement == ONE_CORE else cpus[1], cpus[0])

    def preloaded(self, index):
        return self.bypassed[index] and self.setup.preload

    def watch(self):
        return Watch(self)

    @contextlib.contextmanager
    def background(self, index, argv, stop=True):
        """A program on host `index`, in its role and place; killed at the end of the block."""
        host = self.hosts[index]
        process = host.popen(argv, bypass=self.preloaded(index), options=self.options,
                             cpus=self.cpus[index])
        try:
            yield process
            if stop:
                process.stop()
        finally:
            process.end()

    @contextlib.contextmanager
    def serve(self, argv, port, protocol="tcp", stop=True):
        """The server, from when it listens to the end of the block."""
        with self.background(1, argv, stop) as process:
            self.server.wait_for_port(port, process, self.setup.server, protocol, HANG_S)
            yield process

    def call(self, argv, **more):
        """Runs the client to its end."""
        return self.client.run(argv, bypass=self.preloaded(0), options=self.options, cpus=self.cpus[0],
                               limit_s=HANG_S, **more)


class Sites:
    """Makes labs as they are needed, and removes them all. `options` are those of `underpass run`."""

    def __init__(self, cpus, options=()):
        self.cpus, self.options = cpus, options
        self.labs = {}

    def site(self, setup, placement):
        if setup.name not in self.labs:
            self.labs[setup.name] = self.make(setup)
        return Site(setup, self.labs[setup.name], placement, self.cpus, self.options)

    @staticmethod
    def make(setup):
        with contextlib.ExitStack() as undo:
            made = undo.enter_context(lab.Lab(static_neighbours=True))
            for host, bypassed in zip(made.hosts, (setup.client, setup.server)):
                if bypassed:
                    host.start_broker()
                if not setup.offloads:
                    off = [word for name in ("tso", "gso", "gro") for word in (name, "off")]
                    host.run(["ethtool", "-K", host.iface, *off])
            undo.pop_all()
        return made

    def remove(self):
        for made in self.labs.values():
            made.remove()
        self.labs.clear()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


def choose_cpus(wanted=None):
    """Two CPUs for the two ends: those named as "A,B", or the first two that we may use."""
    allowed = sorted(os.sched_getaffinity(0))
    if wanted:
        cpus = [int(number) for number in wanted.split(",")]
        if len(cpus) != 2 or not set(cpus) <= set(allowed):
            raise lab.LabError(f"--cpus takes two of {','.join(map(str, allowed))}")
        return cpus
    if len(allowed) < 2:
        raise lab.LabError("two CPUs are needed: each end is to have its own")
    return allowed[:2]
