"""dns_test.py - dnsmasq asked by dig, and a server of a few lines that answers from where it was asked"""

import unittest

from lab_case import LabCase, over_roles

NAMES = 40


class DnsTest(LabCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.second = cls.server_host.address.rpartition(".")[0] + ".22"
        cls.server_host.run(["ip", "address", "add", f"{cls.second}/24", "dev", cls.server_host.iface])

    def start_dnsmasq(self, roles):
        port = self.lab.new_port()
        # -d: neither a daemon nor a process for each TCP connection.
        records = [f"--host-record=name{i}.test,192.0.2.{i + 1}" for i in range(NAMES)]
        self.serve(roles, ["dnsmasq", "-d", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--port",
                           port, "--user=root", "--pid-file=", *records], port, protocol="udp")
        return port

    def dig(self, roles, port, *more):
        names = [f"name{i}.test" for i in range(NAMES)]
        done = self.call(roles, ["dig", f"@{self.server_host.address}", "-p", port, "+short", "+tries=3",
                                 *more, *names])
        self.assertEqual(done.out.split(), [f"192.0.2.{i + 1}" for i in range(NAMES)], done.describe())

    @over_roles()
    def test_dig_asks_dnsmasq(self, roles):
        port = self.start_dnsmasq(roles)
        with self.proves(roles, "udp", frames=NAMES):
            self.dig(roles, port)

    @over_roles()
    def test_dig_asks_dnsmasq_over_tcp(self, roles):
        port = self.start_dnsmasq(roles)
        with self.proves(roles, "tcp", frames=NAMES):
            self.dig(roles, port, "+tcp")

    @over_roles()
    def test_answers_come_from_the_address_that_was_asked(self, roles):
        port = self.lab.new_port()
        self.serve(roles, self.server_host.python("datagram_control.py", "server", port), port, "udp",
                   stop=False)
        with self.proves(roles, "udp", frames=40):
            done = self.call(roles, self.client_host.python(
                "datagram_control.py", "client", port, self.server_host.address, self.second))
        # What the server saw of each question: to which address, its TTL and TOS, and a time stamp.
        self.assertEqual(done.out.splitlines(), [
            f"{address}: asked at {address}, ttl 17, tos 40, stamped"
            for address in (self.server_host.address, self.second)])


if __name__ == "__main__":
    unittest.main()
