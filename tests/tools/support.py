"""support.py - namespaces, fake brokers and the built `underpass` for the tests of tools/."""

import ctypes
import os
import shutil
import subprocess
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("UNDERPASS_BUILD", os.path.join(ROOT, "build"))
UNDERPASS = os.path.join(BUILD, "underpass")
BROKER = os.path.join(BUILD, "underpassd")
LIBRARY = os.path.join(BUILD, "libunderpass.so")
IFACE = "up0"
# Generous: only a hang may reach it.
LIMIT_S = 60


def needs(*files):
    """Skips a class whose binaries are not built."""
    missing = [f for f in files if not os.path.exists(f)]
    return unittest.skipIf(missing, "not built: " + ", ".join(missing))


needs_root = unittest.skipUnless(os.geteuid() == 0, "makes network namespaces: needs root")


def sh(*argv):
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


class Namespace:
    """A network namespace with one end of a veth pair, 10.9.0.1/24 on up0; the peer end is inside
    too, under the name up1, without an address: nothing leaves the namespace."""

    def __init__(self, name):
        self.name = f"{name}-{os.getpid()}"
        sh("ip", "netns", "add", self.name)
        sh("ip", "-n", self.name, "link", "set", "lo", "up")
        sh("ip", "-n", self.name, "link", "add", IFACE, "type", "veth", "peer", "name", "up1")
        sh("ip", "-n", self.name, "address", "add", "10.9.0.1/24", "dev", IFACE)
        for device in (IFACE, "up1"):
            sh("ip", "-n", self.name, "link", "set", device, "up")

    def enter(self):
        # Not `ip netns exec`: it mounts another /sys, without /sys/fs/bpf.
        return ["nsenter", f"--net=/var/run/netns/{self.name}", "--"]

    def xdp_program_id(self):
        """The id of what is attached to up0, or None."""
        import json
        text = subprocess.run(["ip", "-n", self.name, "-j", "link", "show", IFACE], check=True,
                              stdout=subprocess.PIPE).stdout
        return json.loads(text)[0].get("xdp", {}).get("prog", {}).get("id")

    def remove(self):
        sh("ip", "netns", "delete", self.name)


class NamespaceCase(unittest.TestCase):
    """A namespace for the class and a way to run `underpass` in it."""

    @classmethod
    def setUpClass(cls):
        cls.namespace = Namespace("up-tools")
        cls.addClassCleanup(cls.namespace.remove)

    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="up-tools-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        # A user without rights must reach the binaries.
        os.chmod(self.directory, 0o755)

    def install(self, broker_script=None):
        """Copies underpass, a fake underpassd and an empty library to a directory of their own."""
        binary = os.path.join(self.directory, "underpass")
        shutil.copy(UNDERPASS, binary)
        library = os.path.join(self.directory, "libunderpass.so")
        subprocess.run(["gcc", "-shared", "-x", "c", "-o", library, "/dev/null"], check=True)
        if broker_script is not None:
            self.write("underpassd", "#!/bin/sh\n" + broker_script, 0o755)
        return binary

    def write(self, name, text, mode=0o644):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def call(self, *argv, environment=None, preexec=None, prefix=()):
        """Runs a command in the namespace; returns status, stdout and stderr."""
        variables = {k: v for k, v in os.environ.items()
                     if not k.startswith("UNDERPASS_") and k != "LD_PRELOAD"}
        variables.update(environment or {})
        done = subprocess.run([*self.namespace.enter(), *prefix, *argv], env=variables,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=LIMIT_S,
                              preexec_fn=preexec)
        return done.returncode, done.stdout, done.stderr

    def assert_one_line(self, text, *parts):
        self.assertEqual(text.count("\n"), 1, text)
        for part in parts:
            self.assertIn(part, text)


class SockFilter(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8),
                ("k", ctypes.c_uint32)]


class SockFprog(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("filter", ctypes.POINTER(SockFilter))]


def forbid_af_xdp():
    """A kernel without AF_XDP, for this process and its children: a seccomp(2) filter that answers
    socket(AF_XDP) with EAFNOSUPPORT."""
    import platform
    socket_number = {"x86_64": 41, "aarch64": 198}[platform.machine()]
    load, equal, ret = 0x20, 0x15, 0x06
    program = (SockFilter * 6)(
        SockFilter(load, 0, 0, 0),                  # seccomp_data.nr
        SockFilter(equal, 0, 3, socket_number),
        SockFilter(load, 0, 0, 16),                 # seccomp_data.args[0], low half
        SockFilter(equal, 0, 1, 44),                # AF_XDP
        SockFilter(ret, 0, 0, 0x00050000 | 97),     # SECCOMP_RET_ERRNO, EAFNOSUPPORT
        SockFilter(ret, 0, 0, 0x7FFF0000))          # SECCOMP_RET_ALLOW
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_seccomp, mode_filter = 38, 22, 2
    one = SockFprog(6, program)
    if (libc.prctl(no_new_privileges, 1, 0, 0, 0) != 0 or
            libc.prctl(set_seccomp, mode_filter, ctypes.byref(one), 0, 0) != 0):
        raise OSError(ctypes.get_errno(), "seccomp")
