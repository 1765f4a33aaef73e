"""redis_test.py - redis-server and redis-benchmark, as Debian ships them"""

import csv
import hashlib
import io
import os
import random
import unittest

from lab_case import LabCase, over_roles, wait_until

# One request and its answer are at least a segment each way.
LOADS = {
    "one_connection": (["-c", "1", "-n", "3000"], 3000),
    "fifty_connections": (["-c", "50", "-n", "20000"], 2000),
    "pipelined": (["-c", "50", "-P", "16", "-n", "60000"], 1000),
}


class RedisTest(LabCase):

    def start(self, roles, *more):
        port = self.lab.new_port()
        self.serve(roles, ["redis-server", "--port", port, "--bind", "0.0.0.0", "--protected-mode",
                           "no", "--save", "", "--appendonly", "no", "--dir", self.lab.directory, *more],
                   port)
        return ["-h", self.server_host.address, "-p", port]

    def benchmark(self, roles, load):
        arguments, frames = LOADS[load]
        where = self.start(roles)
        with self.proves(roles, frames=frames):
            done = self.call(roles, ["redis-benchmark", *where, "-t", "set,get", "--csv", *arguments])
        rows = {row["test"]: float(row["rps"]) for row in csv.DictReader(io.StringIO(done.out))}
        self.assertEqual(set(rows), {"SET", "GET"}, done.describe())
        self.assertTrue(all(rate > 0 for rate in rows.values()), done.describe())
        self.assertEqual(self.info(where, "stats")["rejected_connections"], "0")

    @over_roles()
    def test_benchmark_with_one_connection(self, roles):
        self.benchmark(roles, "one_connection")

    @over_roles()
    def test_benchmark_with_fifty_connections(self, roles):
        self.benchmark(roles, "fifty_connections")

    @over_roles()
    def test_benchmark_with_pipelining(self, roles):
        self.benchmark(roles, "pipelined")

    @over_roles()
    def test_large_value_comes_back_as_it_went(self, roles):
        where = self.start(roles)
        value = random.Random(7).randbytes(4 << 20).hex()
        with self.proves(roles, frames=100):
            self.call(roles, ["redis-cli", *where, "-x", "SET", "large"], input=value)
            answer = self.call(roles, ["redis-cli", *where, "GET", "large"]).out
        self.assertEqual(hashlib.sha256(answer.rstrip("\n").encode()).hexdigest(),
                         hashlib.sha256(value.encode()).hexdigest())

    def info(self, where, section):
        lines = self.client_host.run(["redis-cli", *where, "INFO", section]).out.splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    @over_roles()
    def test_saves_in_the_background_under_load(self, roles):
        """Its child has all the connections, and uses none."""
        dump = f"{roles.name}.rdb"
        where = self.start(roles, "--dbfilename", dump, "--rdbcompression", "no")
        self.call(roles, ["redis-benchmark", *where, "-q", "-t", "set", "-r", "20000", "-n", "20000", "-P", "16"])
        with self.proves(roles, frames=1000):
            load = self.background(self.client_host, ["redis-benchmark", *where, "-t", "set,get", "-c", "20", "-r", "20000",
                                                      "-n", "30000", "-d", "100", "--csv"], roles.client)
            saves = 0
            while load.alive():
                self.client_host.run(["redis-cli", *where, "BGSAVE"])
                wait_until(lambda: self.info(where, "persistence")["rdb_bgsave_in_progress"] == "0", "BGSAVE to end")
                saves += 1
            self.assertEqual(load.wait(), 0, load.describe())
        self.assertGreaterEqual(saves, 2)
        persistence = self.info(where, "persistence")
        self.assertEqual((persistence["rdb_last_bgsave_status"], persistence["rdb_saves"]), ("ok", str(saves)))
        self.assertEqual(self.info(where, "stats")["rejected_connections"], "0")
        checked = self.client_host.run(["redis-check-rdb", os.path.join(self.lab.directory, dump)])
        self.assertIn("RDB looks OK", checked.out, checked.describe())


if __name__ == "__main__":
    unittest.main()
