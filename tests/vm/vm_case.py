"""vm_case.py - tests that need more of the kernel than a development machine's may have

They run in the virtual machine of scripts/vm, by `make test-vm`; anywhere else they are skipped.
"""

import os
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "netns"))

from lab_case import KERNEL, LabCase, Roles, wait_until  # noqa: E402  (the path comes first)
from lab import BUILD, PYTHON, UNDERPASS, Lab, LabError, sh  # noqa: E402

BOTH = Roles(True, True)
TO_BYPASS = Roles(False, True)


def in_vm():
    with open("/proc/cmdline", encoding="ascii") as file:
        return "underpass_vm" in file.read().split()


needs_vm = unittest.skipUnless(in_vm(), "needs the virtual machine's kernel: run `make test-vm`")


def only(module, *names):
    """A module's load_tests(): of all that its classes inherit, these. Emulation is slow."""
    def load_tests(loader, _tests, _pattern):
        return loader.loadTestsFromNames(names, sys.modules[module])
    return load_tests


def own_program(name, *arguments):
    """The argv of one of these tests' programs."""
    return [PYTHON, "-u", os.path.join(ROOT, "tests", "vm", "programs", name), *arguments]


__all__ = ["BOTH", "BUILD", "KERNEL", "Lab", "LabCase", "LabError", "PYTHON", "ROOT", "TO_BYPASS",
           "UNDERPASS", "needs_vm", "only", "own_program", "sh", "wait_until"]
