"""sshd_test.py - OpenSSH: a server that executes itself anew for each connection, ssh, and scp of a large file"""

import contextlib
import hashlib
import os
import random
import unittest

from lab_case import LabCase, over_roles
from lab import sh

FILE_BYTES = 32 << 20
CONFIGURATION = """
ListenAddress 0.0.0.0
ListenAddress ::
HostKey {directory}/host-key
AuthorizedKeysFile {directory}/key.pub
StrictModes no
PermitRootLogin prohibit-password
UsePAM no
PidFile none
Subsystem sftp internal-sftp
"""
# Where Debian's sshd wants to be shut in before a user is known.
PRIVILEGE_SEPARATION = "/run/sshd"


class SshdTest(LabCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.directory = cls.lab.directory
        for name in ("host-key", "key"):
            sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", os.path.join(cls.directory, name))
        cls.configuration = cls.lab.write("sshd_config", CONFIGURATION.format(directory=cls.directory))
        cls.file = cls.lab.write("large", random.Random(3).randbytes(FILE_BYTES))
        with contextlib.suppress(FileExistsError):
            os.mkdir(PRIVILEGE_SEPARATION, 0o755)
            cls.addClassCleanup(os.rmdir, PRIVILEGE_SEPARATION)

    def sshd(self, roles):
        port = self.lab.new_port()
        # By its whole path, which it executes again.
        process = self.serve(roles, ["/usr/sbin/sshd", "-D", "-e", "-f", self.configuration, "-p", port], port)
        return port, process

    def options(self, port, port_option):
        return [port_option, port, "-F", "none", "-i", os.path.join(self.directory, "key"), "-o", "BatchMode=yes",
                "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]

    def check_moves(self, roles, traffic, server, connections):
        """Each connection was accepted by the stack, and became the kernel's with the exec."""
        if not roles.server:
            return
        self.assertGreaterEqual(traffic[1].tcp_frames, 2 * connections, traffic[1].describe())
        self.assertEqual(traffic[1].kernel_opens, 0, traffic[1].describe())
        self.assertTrue(server.alive(), server.describe())

    @over_roles()
    def test_ssh_runs_commands(self, roles):
        port, server = self.sshd(roles)
        with self.lab.traffic() as traffic:
            for number in range(2):
                done = self.call(roles, ["ssh", *self.options(port, "-p"), f"root@{self.server_host.address}",
                                         f"tr a-z A-Z; exit {number}"], input="to the command\n", check=False)
                self.assertEqual((done.status, done.out), (number, "TO THE COMMAND\n"), done.describe())
        self.check_moves(roles, traffic, server, 2)

    @over_roles()
    def test_scp_copies_a_large_file_both_ways(self, roles):
        port, server = self.sshd(roles)
        there, back = self.lab.new_file("there"), self.lab.new_file("back")
        remote = f"root@[{self.server_host.address6}]:{there}"
        with self.lab.traffic() as traffic:
            self.call(roles, ["scp", "-q", *self.options(port, "-P"), self.file, remote])
            self.call(roles, ["scp", "-q", *self.options(port, "-P"), remote, back])
        digests = set()
        for path in (self.file, there, back):
            with open(path, "rb") as file:
                digests.add(hashlib.sha256(file.read()).hexdigest())
        self.assertEqual(len(digests), 1, server.describe())
        self.check_moves(roles, traffic, server, 2)


if __name__ == "__main__":
    unittest.main()
