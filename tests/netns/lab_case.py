"""lab_case.py - unittest over a lab: roles, servers that end with their test, proofs of bypass

A test marked @over_roles() becomes one test per role, named test_x__CLIENT_to_SERVER, with the roles as
its argument. Host 0 of the lab runs the client, host 1 the server. LAB_ROLES=kernel_to_kernel (or more,
with commas) in the environment limits the roles.
"""

import os
import sys
import unittest
from typing import NamedTuple

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))

from lab import PYTHON, Lab, LabError, is_built, wait_until  # noqa: E402  (the path comes first)


class Roles(NamedTuple):
    """Who is under Underpass."""

    client: bool
    server: bool

    @property
    def name(self):
        return f"{'bypass' if self.client else 'kernel'}_to_{'bypass' if self.server else 'kernel'}"

    def of(self, index):
        """As host 0 is the client's and host 1 the server's."""
        return (self.client, self.server)[index]


KERNEL = Roles(False, False)
BYPASS = [Roles(True, False), Roles(False, True), Roles(True, True)]
ALL_ROLES = [KERNEL, *BYPASS]


def over_roles(roles=tuple(ALL_ROLES)):
    """Makes one test per role of a method test_x(self, roles)."""
    def mark(method):
        method.over_roles = roles
        return method
    return mark


def is_wanted(roles):
    limit = os.environ.get("LAB_ROLES")
    return limit is None or roles.name in limit.split(",")


needs_bypass = unittest.skipUnless(is_built(), "Underpass is not built: run `make`")


def bound(method, roles):
    def test(self):
        if (roles.client or roles.server) and not is_built():
            self.skipTest("Underpass is not built: run `make`")
        method(self, roles)
    test.__doc__ = method.__doc__
    return test


@unittest.skipUnless(os.geteuid() == 0, "makes network namespaces: needs root")
class LabCase(unittest.TestCase):
    """A lab for the class, with a broker on each host that stays, so that its counts last."""

    lab_type = Lab
    queues = 1
    with_brokers = True
    # More words of their command lines.
    broker_options = ()
    maxDiff = None

    def __init_subclass__(cls, **more):
        super().__init_subclass__(**more)
        for name, method in list(vars(cls).items()):
            roles_of_test = getattr(method, "over_roles", ())
            for roles in filter(is_wanted, roles_of_test):
                setattr(cls, f"{name}__{roles.name}", bound(method, roles))
            if roles_of_test:
                delattr(cls, name)

    @classmethod
    def setUpClass(cls):
        cls.lab = cls.lab_type(queues=cls.queues)
        cls.addClassCleanup(cls.lab.remove)
        cls.client_host, cls.server_host = cls.lab.hosts
        if cls.with_brokers and is_built():
            for host in cls.lab.hosts:
                host.start_broker(*cls.broker_options)

    def tearDown(self):
        # In the order of unittest: before the cleanups, so the programs are as they were.
        if not self._outcome.success:
            print(f"--- logs of {self.id()}\n{self.describe_lab()}", file=sys.stderr, flush=True)

    def describe_lab(self):
        text = [self.lab.logs()]
        for host in self.lab.hosts if is_built() else []:
            for command in (["stat"], ["ss"]):
                done = host.run(["timeout", "5", os.path.join(ROOT, "build", "underpass"), *command,
                                 "-i", host.iface], check=False)
                text.append(f"=== host {host.index}: {done.out}{done.err}")
        return "\n".join(text)

    def background(self, host, argv, bypass=False, **more):
        """Starts a program that is killed, at the latest, when the test ends."""
        process = host.popen(argv, bypass=bypass, **more)
        self.addCleanup(process.end)
        return process

    def serve(self, roles, argv, port, protocol="tcp", stop=True, **more):
        """Starts a server in its role, waits for its port, and ends it with SIGTERM after the test."""
        process = self.background(self.server_host, argv, roles.server, **more)
        if stop:
            self.addCleanup(process.stop)
        self.server_host.wait_for_port(port, process, roles.server, protocol)
        return process

    def call(self, roles, argv, **more):
        """Runs a client in its role."""
        return self.client_host.run(argv, bypass=roles.client, **more)

    def proves(self, roles, protocol="tcp", frames=1):
        """A block whose traffic must go the way that the roles say: at least `frames` to each host."""
        return Proof(self, roles, protocol, frames)


class Proof:
    """Compares what XDP redirected with what the kernel's own TCP or UDP saw, on each host."""

    # A connection that its owner has left is the kernel's to reset.
    KERNEL_SHARE = 0.02
    KERNEL_SLACK = 32

    def __init__(self, case, roles, protocol, frames):
        self.case, self.roles, self.protocol, self.frames = case, roles, protocol, frames

    def __enter__(self):
        self.block = self.case.lab.traffic()
        self.traffic = self.block.__enter__()
        return self.traffic

    def __exit__(self, kind, value, trace):
        if kind is not None:
            return
        self.block.__exit__(None, None, None)
        for index, traffic in enumerate(self.traffic):
            self.check(traffic, self.roles.of(index), f"host {index} {self.roles.name}")

    def check(self, traffic, bypassed, who):
        redirected = getattr(traffic, f"{self.protocol}_frames")
        kernel = getattr(traffic, f"kernel_{self.protocol}")
        text = f"{who}: {traffic.describe()}"
        if bypassed:
            self.case.assertGreaterEqual(redirected, self.frames, text)
            # A program that ends gives its connections to the kernel, which sends what is left of them, and has
            # opened none.
            if self.protocol == "tcp" and traffic.kernel_opens == 0:
                return
            self.case.assertLessEqual(kernel, redirected * self.KERNEL_SHARE + self.KERNEL_SLACK, text)
        else:
            self.case.assertEqual(redirected, 0, text)
            self.case.assertGreaterEqual(kernel, self.frames, text)


__all__ = ["ALL_ROLES", "BYPASS", "KERNEL", "LabCase", "LabError", "PYTHON", "Roles", "needs_bypass",
           "over_roles", "wait_until"]
