"""death_test.py - programs and brokers that are killed in the middle of traffic, and what is left: nothing"""

import os
import re
import resource
import signal
import subprocess
import time
import unittest

from lab_case import LabCase, needs_bypass, wait_until

KILLS = 50
PEERS = 1000
# More than a ring holds, so that what is not taken back would soon be missing.
FLOOD_DATAGRAMS = 3000
# Of base/limits.h: kRxFramesPerQueue, kRxRingEntries.
CHUNKS, RING_FRAMES = 4096, 2048


def open_files(pid):
    """What a process holds, but for numbers."""
    names = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    return sorted(name.split("[")[0] for name in names)


def mapping_count(pid):
    with open(f"/proc/{pid}/maps", encoding="ascii") as file:
        return sum(1 for _ in file)


def is_loaded(program_id):
    """Whether the kernel still has that BPF program, attached or not."""
    return subprocess.run(["bpftool", "prog", "show", "id", str(program_id)],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"}).returncode == 0


@needs_bypass
class DeathTest(LabCase):

    with_brokers = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # A thousand connections are more than a program may have by default.
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
        cls.addClassCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)

    def setUp(self):
        self.host, self.peer = self.server_host, self.client_host
        self.host.start_broker()
        self.addCleanup(self.end_broker)
        self.port = self.lab.new_port()

    def end_broker(self):
        for process in self.lab.processes:
            process.kill()
        wait_until(lambda: self.host.xdp_program_id() is None, "the XDP program to go")
        self.lab.processes.clear()

    def start_server(self, kind="epoll", port=None):
        port = port or self.port
        server = self.host.popen(self.host.python("echo_server.py", kind, port), bypass=True)
        self.host.wait_for_port(port, server, protocol="udp" if kind == "udp" else "tcp",
                                bypass=self.host.broker.alive())
        return server

    def witness(self, idle, busy):
        """A client on the peer's kernel, with all connections open."""
        client = self.peer.popen(self.peer.python("witness.py", self.host.address, self.port, idle,
                                                  busy))
        wait_until(lambda: "connected" in client.log() or not client.alive(), "the connections")
        self.assertIn("connected", client.log(), client.describe())
        return client

    def echo(self, port, *more, protocol="tcp"):
        done = self.peer.run(self.peer.python("echo_client.py", protocol, self.host.address, port,
                                              *more))
        self.assertIn("ok\n", done.out)

    def assert_kernel_works(self):
        """Ping, and a server that is not under Underpass."""
        self.peer.run(["ping", "-c", "1", "-W", "5", self.host.address])
        port = self.lab.new_port()
        server = self.background(self.host, self.host.python("echo_server.py", "poll", port))
        self.host.wait_for_port(port, server)
        self.echo(port)

    def test_peers_of_a_killed_program_hear_of_it_at_once(self):
        server = self.start_server()
        client = self.witness(idle=20, busy=5)
        server.kill()
        self.assertEqual(client.wait(), 0)
        self.assertIn("25 reset, 0 closed", client.log())
        refused = self.peer.run(self.peer.python("echo_client.py", "tcp", self.host.address,
                                                 self.port), check=False)
        self.assertIn("ConnectionRefusedError", refused.err)
        self.assert_kernel_works()
        self.start_server()
        self.echo(self.port, 10, 100000)

    def test_peers_of_a_thousand_connections_hear_of_it(self):
        """Half of them silent, half in the middle of their talk. How long it took is printed, the kernel's beside it."""
        server = self.background(self.host, self.host.python("echo_server.py", "epoll", self.port))
        self.host.wait_for_port(self.port, server)
        on_kernel = self.last_peer_hears_after_ms(server)
        self.port = self.lab.new_port()
        server = self.start_server()
        with self.lab.traffic() as traffic:
            bypassed = self.last_peer_hears_after_ms(server)
        self.assertGreater(traffic[self.host.index].tcp_frames, 4 * PEERS)
        print(f"    the last of {PEERS} peers hears after {bypassed:.1f} ms, of the kernel's after {on_kernel:.1f} ms",
              flush=True)
        wait_until(lambda: self.host.stat()["clients"] == [], "the client to be noticed")
        # Port, group and frames are free again.
        self.start_server()
        self.echo(self.port, 10, 100000)
        self.assert_all_chunks_are_there()

    def last_peer_hears_after_ms(self, server):
        """Kills it in the middle of a thousand conversations, of which half are silent."""
        client = self.witness(idle=PEERS // 2, busy=PEERS // 2)
        time.sleep(0.2)
        killed = time.monotonic()
        server.kill()
        self.assertEqual(client.wait(), 0)
        reset, closed = map(int, re.search(r"(\d+) reset, (\d+) closed", client.log()).groups())
        self.assertEqual(reset + closed, PEERS)
        return (float(client.log().split()[-1]) - killed) * 1000

    def test_peers_of_a_terminated_program_hear_of_it_as_of_a_killed_one(self):
        """SIGTERM without a handler: the program cannot do anything either."""
        server = self.start_server()
        client = self.witness(idle=20, busy=5)
        self.assertEqual(server.stop(signal.SIGTERM), -signal.SIGTERM)
        self.assertEqual(client.wait(), 0)
        self.assertIn("25 reset, 0 closed", client.log())

    def test_program_that_has_closed_its_connections_resets_nothing(self):
        """Both ends of a bypassed client's, and what a server's peers have closed."""
        server = self.start_server()
        self.echo(self.port, 10, 100000)
        port = self.lab.new_port()
        other = self.background(self.peer, self.peer.python("echo_server.py", "poll", port))
        self.peer.wait_for_port(port, other)
        client = self.host.run(self.host.python("echo_client.py", "tcp", self.peer.address, port, 10),
                               bypass=True)
        self.assertIn("ok\n", client.out)
        server.stop(signal.SIGINT)
        wait_until(lambda: self.host.stat()["clients"] == [], "both to be noticed")
        ends = re.findall(r"gone, (\d+) connection", self.host.broker.log())
        self.assertEqual(ends, ["0", "0"])

    def test_program_goes_on_without_its_broker(self):
        server = self.start_server()
        client = self.witness(idle=2, busy=3)
        self.host.broker.kill()
        self.echo(self.port, 10, 1000000)
        self.assertIsNotNone(self.host.xdp_program_id())
        self.assert_kernel_works()
        server.kill()
        wait_until(lambda: self.host.xdp_program_id() is None, "the XDP program to go")
        self.echo_with_a_new_broker()
        client.kill()

    def test_idle_program_sleeps_when_its_broker_has_gone(self):
        """Its dead descriptor is readable for ever: a wait that goes on polling it never sleeps."""
        server = self.start_server()
        self.echo(self.port)
        self.host.broker.kill()
        trace = self.lab.new_file("strace")
        self.host.run(["timeout", "-s", "INT", "1", "strace", "-f", "-qq", "-e", "trace=ppoll", "-o",
                       trace, "-p", server.pid], check=False)
        with open(trace, encoding="utf-8") as file:
            calls = file.read().count("ppoll(")
        # Asleep it makes one; in a loop, thousands.
        self.assertGreater(calls, 0)
        self.assertLess(calls, 200)

    def test_both_killed_leave_the_interface_as_it_was(self):
        server = self.start_server()
        client = self.witness(idle=2, busy=3)
        mine = self.host.xdp_program_id()
        self.assertTrue(is_loaded(mine))
        self.host.broker.kill()
        server.kill()
        wait_until(lambda: self.host.xdp_program_id() is None, "the XDP program to go")
        wait_until(lambda: not is_loaded(mine), "the XDP program to be unloaded")
        self.assert_kernel_works()
        self.echo_with_a_new_broker()
        client.kill()

    def test_broker_and_program_killed_in_the_other_order(self):
        server = self.start_server()
        client = self.witness(idle=2, busy=3)
        os.kill(self.host.broker.pid, signal.SIGSTOP)
        server.kill()
        self.host.broker.kill()
        wait_until(lambda: self.host.xdp_program_id() is None, "the XDP program to go")
        self.assert_kernel_works()
        self.echo_with_a_new_broker()
        client.kill()

    def echo_with_a_new_broker(self):
        """`underpass run` alone: it starts the broker."""
        port = self.lab.new_port()
        server = self.background(self.host, self.host.python("echo_server.py", "epoll", port),
                                 bypass=True)
        self.host.wait_for_port(port, server, bypass=True)
        with self.lab.traffic() as traffic:
            self.echo(port, 10, 100000)
        self.assertGreater(traffic[self.host.index].tcp_frames, 100)

    def test_fifty_killed_programs_leave_every_chunk_and_every_descriptor(self):
        """Every third is stopped first, with its ring full; every other one in its work."""
        broker = self.host.broker.pid
        self.kill_one_in_a_flood(stop=True)
        files, mappings = open_files(broker), mapping_count(broker)
        for turn in range(KILLS):
            self.kill_one_in_a_flood(stop=turn % 3 == 0)
        wait_until(lambda: self.host.stat()["clients"] == [], "the last client to be noticed")
        self.assertEqual(open_files(broker), files)
        self.assertLessEqual(mapping_count(broker), mappings + 2)
        self.start_server("udp")
        with self.lab.traffic() as traffic:
            self.echo(self.port, 500, protocol="udp")
        self.assertGreaterEqual(traffic[self.host.index].udp_frames, 4000)
        self.assert_all_chunks_are_there()

    def assert_all_chunks_are_there(self):
        """Two programs that do not read fill their rings, which takes every chunk that there is."""
        self.end_programs()
        for _ in range(CHUNKS // RING_FRAMES):
            port = self.lab.new_port()
            server = self.start_server("udp", port)
            os.kill(server.pid, signal.SIGSTOP)
            wanted = self.host.steer()["udp_frames"] + RING_FRAMES
            # In steps: what comes faster than the interface takes it is lost before the rings.
            while (left := wanted - self.host.steer()["udp_frames"]) > 0:
                self.peer.run(self.peer.python("flood.py", self.host.address, port, min(left, 100)))
        for client in self.host.stat()["clients"]:
            xsk = client["xsk"]
            self.assertEqual((xsk["rx_dropped"], xsk["rx_ring_full"]), (0, 0), client)

    def end_programs(self):
        for process in [one for one in self.lab.processes if one is not self.host.broker]:
            process.end()
        wait_until(lambda: self.host.stat()["clients"] == [], "the last client to be noticed")

    def kill_one_in_a_flood(self, stop):
        server = self.start_server("udp")
        if stop:
            os.kill(server.pid, signal.SIGSTOP)
        flood = self.peer.popen(self.peer.python("flood.py", self.host.address, self.port,
                                                 FLOOD_DATAGRAMS))
        before = self.host.steer()["udp_frames"]
        wait_until(lambda: self.host.steer()["udp_frames"] > before or not flood.alive(), "the flood")
        if stop:
            flood.wait()
        server.kill()
        flood.wait()
        self.lab.forget(server)
        self.lab.forget(flood)
        wait_until(lambda: not any(one["pid"] == server.pid for one in self.host.stat()["clients"]),
                   "the client to be noticed")


if __name__ == "__main__":
    unittest.main()
