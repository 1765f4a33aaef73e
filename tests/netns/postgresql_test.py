"""postgresql_test.py - PostgreSQL: a server with a process for each connection, and pgbench"""

import glob
import os
import re
import shutil
import unittest

from lab_case import LabCase, over_roles
from lab import sh

CLIENTS = 4
TRANSACTIONS = 100


def program(name):
    """Debian keeps them out of PATH, in a folder of the version."""
    return sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))[-1]


class PostgresqlTest(LabCase):

    broker_options = ("--allow", "postgres")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.directory = os.path.join(cls.lab.directory, "postgresql")
        os.mkdir(cls.directory)
        shutil.chown(cls.directory, "postgres")
        # It refuses to run as root.
        sh("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", program("initdb"), "-D", cls.directory,
           "--auth=trust", "--no-sync", "--encoding=UTF8", "--no-locale")
        with open(os.path.join(cls.directory, "pg_hba.conf"), "a", encoding="utf-8") as file:
            file.write("host all all all trust\n")

    def server(self, roles):
        port = self.lab.new_port()
        process = self.serve(roles, ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups",
                                     program("postgres"), "-D", self.directory, "-p", port, "-h", "*", "-F",
                                     "-k", self.directory], port)
        return port, process

    def client(self, name, port):
        return [program(name), "-h", self.server_host.address, "-p", str(port), "-U", "postgres"]

    @over_roles()
    def test_pgbench_runs_its_transactions(self, roles):
        port, server = self.server(roles)
        with self.lab.traffic() as traffic:
            self.call(roles, [*self.client("pgbench", port), "-i", "-q", "postgres"])
            done = self.call(roles, [*self.client("pgbench", port), "-c", str(CLIENTS), "-j", "2",
                                     "-t", str(TRANSACTIONS), "postgres"])
            rows = self.call(roles, [*self.client("psql", port), "-At", "-c",
                                     "SELECT count(*), sum(delta) = (SELECT sum(abalance) FROM pgbench_accounts)"
                                     " FROM pgbench_history", "postgres"])
        wanted = CLIENTS * TRANSACTIONS
        self.assertRegex(done.out, rf"actually processed: {wanted}/{wanted}\n", done.describe())
        self.assertIsNone(re.search(r"number of failed transactions: [1-9]", done.out), done.describe())
        self.assertEqual(rows.out, f"{wanted}|t\n", rows.describe())
        if roles.client:
            self.assertGreater(traffic[0].tcp_frames, wanted, traffic[0].describe())
            self.assertEqual(traffic[0].kernel_opens, 0, traffic[0].describe())
        if roles.server:
            # Accepted by the stack, and the kernel's with the process that serves each.
            self.assertGreaterEqual(traffic[1].tcp_frames, 2 * CLIENTS, traffic[1].describe())
            self.assertEqual(traffic[1].kernel_opens, 0, traffic[1].describe())
        self.assertTrue(server.alive(), server.describe())


if __name__ == "__main__":
    unittest.main()
