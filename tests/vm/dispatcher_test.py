"""dispatcher_test.py - beside a user's XDP program, which libxdp's dispatcher runs before ours

docs/decisions/001-dispatcher.md says what is promised. The user's program is `before.bpf.c`.
"""

import json
import os
import struct
import unittest

from vm_case import BUILD, KERNEL, TO_BYPASS, UNDERPASS, LabCase, LabError, needs_vm, own_program, \
    wait_until

OBJECT = os.path.join(BUILD, "tests", "vm", "before.bpf.o")
THEIRS, OURS = "count_and_drop", "underpass_steer"
# Of the map of before.bpf.c.
FRAMES, DROPPED, DROP_PORT = range(3)


@needs_vm
class DispatcherTest(LabCase):
    """The user's program is on the server's host."""

    with_brokers = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client_host.start_broker()

    def setUp(self):
        self.loader("load", "-m", "native", self.server_host.iface, OBJECT)
        self.addCleanup(self.loader, "unload", self.server_host.iface, "--all")
        self.broker = self.server_host.start_broker()
        self.addCleanup(self.broker.kill)

    def loader(self, *arguments):
        return self.server_host.run(["xdp-loader", *arguments]).out

    def programs(self):
        """(name, id) of what the dispatcher runs, in its order."""
        lines = (line.split() for line in self.loader("status", self.server_host.iface).splitlines())
        return [(words[2], words[3]) for words in lines if words[:1] == ["=>"]]

    def names(self):
        return [name for name, _ in self.programs()]

    def bpftool(self, *arguments):
        out = self.server_host.run(["bpftool", "-j", *arguments]).out
        return json.loads(out) if out.strip() else None

    def map_id(self):
        (_, program_id), *_ = self.programs()
        return self.bpftool("prog", "show", "id", program_id)["map_ids"][0]

    def entry(self, index):
        key = [str(byte) for byte in struct.pack("=I", index)]
        value = self.bpftool("map", "lookup", "id", self.map_id(), "key", *key)["value"]
        return struct.unpack("=Q", bytes(int(byte, 16) for byte in value))[0]

    def set_entry(self, index, number):
        key, value = ([str(byte) for byte in data]
                      for data in (struct.pack("=I", index), struct.pack("=Q", number)))
        self.bpftool("map", "update", "id", self.map_id(), "key", *key, "value", *value)

    def start_server(self):
        """A bypassed one; its port."""
        port = self.lab.new_port()
        self.serve(TO_BYPASS, self.server_host.python("echo_server.py", "epoll", port), port)
        return port

    def call_server(self, port):
        done = self.call(TO_BYPASS, self.client_host.python(
            "echo_client.py", "tcp", self.server_host.address, port, 4, 20000))
        self.assertTrue(done.out.endswith("\nok\n"), done.describe())

    def echo(self):
        """Returns what the server's host has received in the meantime."""
        port = self.start_server()
        with self.proves(TO_BYPASS, frames=20) as traffic:
            self.call_server(port)
        return traffic[1]

    def kernel_segments(self):
        return self.server_host.kernel_counters()["Tcp"]["InSegs"]

    def test_counter_sees_what_ours_redirects(self):
        self.assertEqual(self.names(), [THEIRS, OURS])
        stat = self.server_host.run([UNDERPASS, "stat", "-i", self.server_host.iface]).out
        self.assertIn("driver mode", stat)
        self.assertIn("beside other XDP programs", stat)
        before = self.entry(FRAMES)
        traffic = self.echo()
        self.assertGreaterEqual(self.entry(FRAMES) - before, traffic.tcp_frames)

    def test_filter_drops_what_ours_would_redirect(self):
        dropped, passed = self.lab.new_port(), self.lab.new_port()
        listener = self.background(self.server_host, own_program("udp_listen.py", dropped, passed), True)
        for port in (dropped, passed):
            self.server_host.wait_for_port(port, listener, True, "udp")

        def send(*texts):
            self.call(TO_BYPASS, own_program("udp_send.py", self.server_host.address, *texts))
        send(dropped, "first", passed, "second")
        self.set_entry(DROP_PORT, dropped)
        with self.lab.traffic() as traffic:
            send(dropped, "third", dropped, "fourth", passed, "fifth")
        self.assertEqual(self.entry(DROPPED), 2)
        self.assertEqual(traffic[1].udp_frames, 1)
        self.set_entry(DROP_PORT, 0)
        send(dropped, "sixth", passed, "end")
        self.assertEqual(listener.wait(), 0)
        self.assertEqual(listener.log().split(), [str(word) for word in (
            dropped, "first", passed, "second", passed, "fifth", dropped, "sixth", passed, "end")])

    def test_another_program_may_join_later(self):
        self.loader("load", "-m", "native", "-P", "20", self.server_host.iface, OBJECT)
        self.assertEqual(self.names(), [THEIRS, THEIRS, OURS])
        self.echo()

    def test_ours_leaves_when_the_broker_ends(self):
        self.assertEqual(self.broker.stop(), 0)
        self.assertEqual(self.names(), [THEIRS])
        before = self.entry(FRAMES)
        self.call(KERNEL, ["ping", "-c", "1", self.server_host.address])
        self.assertGreater(self.entry(FRAMES), before)

    def test_killed_broker_leaves_a_program_that_passes_all_and_the_next_one_takes_off(self):
        self.broker.kill()
        self.assertEqual(self.names(), [THEIRS, OURS])
        port = self.lab.new_port()
        server = self.background(self.server_host, self.server_host.python("echo_server.py", "poll", port))
        self.server_host.wait_for_port(port, server)
        self.call(KERNEL, self.client_host.python(
            "echo_client.py", "tcp", self.server_host.address, port, 1, 1000))
        killed = self.programs()[1]
        self.addCleanup(self.server_host.start_broker().kill)
        self.assertEqual(self.names(), [THEIRS, OURS])
        self.assertNotIn(killed, self.programs())
        self.echo()

    def starts(self):
        """A broker, unless it is refused."""
        try:
            self.addCleanup(self.server_host.start_broker().kill)
        except LabError as refused:
            self.assertIn("or by programs of a broker that was killed", str(refused))
            return False
        return True

    def test_connections_of_a_killed_broker_stay_bypassed_and_another_one_waits_for_their_end(self):
        port = self.start_server()
        # 10 s: long enough for a broker that tries to start.
        steps = self.background(self.client_host, self.client_host.python(
            "echo_steps.py", self.server_host.address, port, 100))
        wait_until(lambda: self.server_host.established(port) == 1, "the connection")
        self.broker.kill()
        programs, segments = self.programs(), self.kernel_segments()
        self.assertFalse(self.starts())
        self.assertTrue(steps.alive(), steps.describe())
        self.assertEqual(self.programs(), programs)
        steps.wait()
        self.assertEqual(steps.log(), "100 right\n")
        # 300 kB are more than 200 segments.
        self.assertLess(self.kernel_segments() - segments, 10)
        wait_until(self.starts, "a broker that may start")
        self.assertEqual(self.names(), [THEIRS, OURS])
        self.assertNotEqual(self.programs(), programs)
        wait_until(lambda: port in self.server_host.bypassed_ports("tcp"), "the listener to be bypassed again")
        with self.proves(TO_BYPASS, frames=20):
            self.call_server(port)


if __name__ == "__main__":
    unittest.main()
