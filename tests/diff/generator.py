"""generator.py - random sequences of socket calls: the same seed, the same sequence

A sequence opens with what brings sockets into a state (a connection, a listener with connections that nobody
has accepted, a pair of datagram sockets, ...) and goes on with calls chosen by weight, mostly on sockets for which
they make sense, and with right arguments; a share of both is wrong on purpose. The generator keeps a rough
idea of what each descriptor is, never of what the kernel would answer.

A host has three threads. The first never waits for long; the others wait in calls that the first, the other host
or a signal may end. Two calls are made at once, by two threads or by both hosts, where their order changes nothing.
"""

import random
from dataclasses import dataclass, replace

from option_table import COMMON, TCP, UDP, V6
from sequence import HOSTS, Sequence, Step

# One argument in so many is wrong.
WRONG_ONE_IN = 40
BODY_STEPS = (4, 16)
# Who is under Underpass.
ROLES = ("A", "B", "AB", "AB")


@dataclass
class File:
    """A descriptor of the sequence, as far as the generator knows it."""
    name: str
    host: str
    kind: str               # tcp, udp, epoll, pipe, file
    state: str = "new"      # new, bound, listening, connecting, connected, closed
    port: str = None
    peer: object = None
    first: object = None    # of a duplicate


class Generator:
    """Makes one sequence."""

    def __init__(self, seed, family="inet"):
        self.random, self.family = random.Random(seed), family
        self.steps, self.files, self.ports, self.slots = [], [], 0, 0
        self.busy = set()       # threads that are probably in a call that waits
        self.awaited = set()    # what such a call may be waiting for: of two, either may get it

    # ---- chances

    def chance(self, share):
        return self.random.random() < share

    def pick(self, *choices):
        return self.random.choice(choices)

    def wrong(self):
        return self.random.randrange(WRONG_ONE_IN) == 0

    def weighted(self, table):
        return self.random.choices([row[1] for row in table], [row[0] for row in table])[0]

    # ---- steps and descriptors

    def add(self, host, call, *words, slot=None, worker=0, together=False):
        self.steps.append(Step(host, call, tuple(map(str, words)), slot, worker, together))

    def new_file(self, host, kind, **more):
        self.slots += 1
        made = File(f"s{self.slots}", host, kind, **more)
        self.files.append(made)
        return made

    def new_port(self):
        self.ports += 1
        return f"P{self.ports - 1}"

    def other(self, host):
        return HOSTS[1 - HOSTS.index(host)]

    def some(self, *kinds, host=None, states=None):
        """A descriptor of one of the kinds; one that is open, but seldom."""
        found = [one for one in self.files if one.kind in kinds and host in (None, one.host)
                 and (one.state in states if states else one.state != "closed" or self.chance(0.15))]
        return self.random.choice(found) if found else None

    def fd(self, file):
        """Its name, or a wrong one."""
        if self.wrong():
            others = [one.name for one in self.files if one.host == file.host]
            return self.random.choice(["-1", "777", *others])
        return file.name

    # ---- arguments

    def data(self, largest=200):
        if self.wrong():
            return self.pick("null10", "null0", "bad10", "d0.0")
        size = self.pick(1, 5, 10, 20, 100, largest, 1448, 3000) if self.chance(0.9) else 0
        return f"d{self.random.randrange(26)}.{size}"

    def datagram(self):
        if self.wrong():
            return self.pick("null10", "null0", "bad10")
        size = self.random.choices([0, 1, 10, 100, 1472, 1473, 4000, 65507, 65508],
                                   [6, 20, 40, 30, 4, 3, 2, 1, 1])[0]
        return f"d{self.random.randrange(26)}.{size}"

    def room(self):
        if self.wrong():
            return self.pick("null10", "bad10", "b0")
        return f"b{self.pick(1, 4, 8, 16, 100, 100, 1000, 4096, 4096)}"

    def rooms(self):
        if self.wrong():
            return self.pick("null1", "bad1", "null0", "null-1", "b10,bad10")
        return ",".join(f"b{self.pick(0, 1, 4, 7, 100, 1000)}" for _ in range(self.pick(1, 2, 2, 3, 5)))

    def pieces(self):
        if self.wrong():
            return self.pick("null1", "bad1", "null0", "null-1", "d0.5,bad10")
        return ",".join(f"d{self.random.randrange(26)}.{self.pick(0, 1, 3, 10, 100)}"
                        for _ in range(self.pick(1, 2, 2, 3, 5)))

    def address_room(self):
        if self.wrong():
            return self.pick("nolength16", "badlength16", "badaddress16", "o-1")
        return self.random.choices(["o16", "null", "o28", "o128", "o4", "o0", "o1"], [12, 6, 2, 1, 2, 1, 1])[0]

    def address(self, where):
        """@host:port, sometimes cut short, of another family, or no memory at all."""
        if self.wrong():
            return self.pick("null16", "bad16", "null0", f"@{where}/len=8", f"@{where}/len=0", f"@{where}/len=1",
                             f"@{where}/family=AF_UNSPEC", f"@{where}/family=AF_INET6", f"@{where}/len=28",
                             f"@{where}/len=15", f"@{where}/len=200")
        return f"@{where}"

    def send_flags(self):
        flags = ["MSG_DONTWAIT"] if self.chance(0.9) else []
        if self.chance(0.35):
            flags.append("MSG_NOSIGNAL")
        if self.chance(0.12):
            flags.append(self.random.choices(
                ["MSG_MORE", "MSG_OOB", "MSG_EOR", "MSG_CONFIRM", "MSG_DONTROUTE", "MSG_PEEK", "MSG_TRUNC",
                 "MSG_WAITALL", "MSG_UNKNOWN", "MSG_ERRQUEUE", "MSG_FASTOPEN", "MSG_ZEROCOPY", "MSG_PROBE",
                 "MSG_SYN", "MSG_BATCH"], [6, 1, 3, 2, 2, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1])[0])
        return "|".join(flags) or "0"

    def receive_flags(self, wait=False):
        flags = [] if wait else ["MSG_DONTWAIT"]
        if self.chance(0.4):
            flags.append(self.random.choices(
                ["MSG_PEEK", "MSG_WAITALL", "MSG_TRUNC", "MSG_OOB", "MSG_ERRQUEUE", "MSG_NOSIGNAL",
                 "MSG_CMSG_CLOEXEC", "MSG_UNKNOWN", "MSG_MORE", "MSG_PEEK|MSG_TRUNC", "MSG_PEEK|MSG_WAITALL",
                 "MSG_WAITALL|MSG_TRUNC", "MSG_DONTROUTE", "MSG_EOR"],
                [12, 6, 6, 1, 1, 2, 1, 2, 1, 4, 2, 2, 1, 1])[0])
        return "|".join(flags) or "0"

    # ---- openings

    def socket(self, host, kind, flags=""):
        made = self.new_file(host, kind)
        kind_name = {"tcp": "SOCK_STREAM", "udp": "SOCK_DGRAM"}[kind]
        if not flags and self.chance(0.25):
            flags = "|SOCK_NONBLOCK"
        self.add(host, "socket", "AF_INET", kind_name + flags, self.pick(0, 0, 0, f"IPPROTO_{kind.upper()}"),
                 slot=made.name)
        return made

    def bound(self, host, kind, where=None):
        made = self.socket(host, kind)
        made.port, made.state = self.new_port(), "bound"
        self.add(host, "bind", made.name, self.address(f"{where or self.pick('any', host)}:{made.port}"))
        return made

    def listener(self, host, backlog=None):
        made = self.bound(host, "tcp")
        made.state = "listening"
        self.add(host, "listen", made.name, self.pick(5, 10, 128) if backlog is None else backlog)
        return made

    def client(self, listener, nonblocking=False):
        host = self.other(listener.host)
        made = self.socket(host, "tcp", "|SOCK_NONBLOCK" if nonblocking else "")
        made.state, made.peer = "connected", listener
        if self.chance(0.1):
            self.option_on(made)
        self.add(host, "connect", made.name, f"@{listener.host}:{listener.port}")
        return made

    def accept(self, listener, client=None):
        made = self.new_file(listener.host, "tcp", state="connected", peer=client)
        if client:
            client.peer = made
        if self.chance(0.7):
            self.add(listener.host, "accept4", listener.name, self.address_room(),
                     self.pick(0, 0, "SOCK_NONBLOCK", "SOCK_CLOEXEC", "SOCK_NONBLOCK|SOCK_CLOEXEC"), slot=made.name)
        else:
            self.add(listener.host, "accept", listener.name, self.address_room(), slot=made.name)
        return made

    def connection(self):
        listener = self.listener(self.pick(*HOSTS))
        client = self.client(listener, self.chance(0.2))
        self.accept(listener, client)
        if self.chance(0.2):
            self.close(listener)

    def waiting_connections(self):
        listener = self.listener(self.pick(*HOSTS))
        for _ in range(self.pick(1, 2, 3)):
            self.client(listener, self.chance(0.3))

    def datagrams(self):
        host = self.pick(*HOSTS)
        one = self.bound(host, "udp")
        other = self.bound(self.other(host), "udp") if self.chance(0.7) else self.socket(self.other(host), "udp")
        if self.chance(0.6):
            self.connect_datagram(other, one)
        if other.port and self.chance(0.4):
            self.connect_datagram(one, other)

    def connect_datagram(self, one, other):
        one.state, one.peer = "connected", other
        self.add(one.host, "connect", one.name, f"@{other.host}:{other.port}")

    def refused(self):
        client = self.socket(self.pick(*HOSTS), "tcp")
        self.add(client.host, "connect", client.name, f"@{self.other(client.host)}:{self.new_port()}")

    def bare(self):
        self.socket(self.pick(*HOSTS), self.pick("tcp", "tcp", "udp"))

    def open(self):
        self.weighted([(50, self.connection), (8, self.waiting_connections), (22, self.datagrams), (4, self.refused),
                       (6, self.bare)])()

    # ---- calls on what there is: each returns without a step where nothing fits

    def sender(self):
        return self.some("tcp", "udp")

    def send(self):
        file = self.sender()
        if file and file.kind == "udp" and (file.state != "connected" or self.chance(0.3)):
            return self.send_to(file)
        if file:
            data = self.data() if file.kind == "tcp" else self.datagram()
            self.add(file.host, "send", self.fd(file), data, self.send_flags())

    def destination(self, file):
        """Where another socket of its kind is, or nobody, or somewhere else."""
        others = [one for one in self.files if one.kind == file.kind and one.port and one.host != file.host]
        if others and self.chance(0.75):
            one = self.random.choice(others)
            return f"{one.host}:{one.port}"
        named = self.some(file.kind, host=self.other(file.host))
        if named and self.chance(0.5):
            return f"name:{named.name}"
        return self.pick(f"{self.other(file.host)}:{self.new_port()}", f"{self.other(file.host)}:0",
                         f"lo:{file.port or 0}", f"{file.host}:{file.port or 0}", "any:0", "broadcast:9", "group:9")

    def send_to(self, file=None):
        file = file or self.sender()
        if file:
            data = self.data() if file.kind == "tcp" else self.datagram()
            self.add(file.host, "sendto", self.fd(file), data, self.send_flags(),
                     self.address(self.destination(file)))

    def send_message(self):
        file = self.sender()
        if not file:
            return
        if self.wrong():
            self.add(file.host, "sendmsg_null", file.name, "MSG_DONTWAIT")
            return
        to = "null0"
        if file.kind == "udp" and (file.state != "connected" or self.chance(0.2)) or self.chance(0.05):
            to = self.address(self.destination(file))
        control = self.random.choices(
            ["null0", "control:SOL_IPV6,IPV6_HOPLIMIT,5", "control:SOL_IPV6,IPV6_TCLASS,16"], [40, 2, 2])[0]
        control = control if self.family != "inet" and self.chance(0.5) else self.random.choices(
            ["null0", "control:SOL_IP,IP_TTL,5", "control:SOL_IP,IP_TOS,16", "control:SOL_SOCKET,99,1", "hex:0102",
             "control:SOL_IP,99,1", "control:SOL_UDP,UDP_SEGMENT,20"], [40, 1, 1, 1, 1, 1, 1])[0]
        self.add(file.host, "sendmsg", self.fd(file), self.pieces(), self.send_flags(), to, control)

    def write(self):
        file = self.some("tcp", "udp", "pipe")
        if not file:
            return
        call = self.pick("write", "write", "writev", "pwritev2", "pwritev", "pwrite", "dprintf")
        data = (f"d{self.random.randrange(26)}.{self.pick(1, 10, 100)}" if call == "dprintf" else
                self.data() if call in ("write", "pwrite") else self.pieces())
        more = {"pwritev2": [self.pick("-1", "-1", "0", "5"), self.pick("0", "0", "RWF_NOWAIT", "RWF_APPEND",
                                                                         "RWF_DSYNC", "64")],
                "pwritev": [self.pick("0", "5", "-1")], "pwrite": [self.pick("0", "5", "-1")]}.get(call, [])
        self.add(file.host, call, self.fd(file), data, *more)

    def send_many(self):
        file = self.some("udp", "udp", "tcp")
        if file:
            to = "null0" if file.state == "connected" else self.address(self.destination(file))
            self.add(file.host, "sendmmsg", self.fd(file), self.send_flags(), to,
                     *(self.pieces() for _ in range(self.pick(0, 1, 2, 3))))

    def send_file(self):
        file = self.some("tcp", "tcp", "udp")
        if not file:
            return
        source = self.some("file", host=file.host)
        if not source:
            source = self.new_file(file.host, "file")
            self.add(file.host, "file", f"d0.{self.pick(0, 10, 500, 5000)}", slot=source.name)
        self.add(file.host, "sendfile", self.fd(file), self.fd(source), self.pick("-1", "0", "3", "6000", "-5"),
                 self.pick(0, 5, 100, 10000))

    def pipe(self, host):
        ends = [self.new_file(host, "pipe") for _ in range(2)]
        self.add(host, "pipe", *(end.name[1:] for end in ends))
        return ends

    def splice(self):
        file = self.some("tcp", "tcp", "udp")
        if not file:
            return
        out, into = self.pipe(file.host)
        flags = self.pick("SPLICE_F_NONBLOCK", "SPLICE_F_NONBLOCK|SPLICE_F_MORE")
        if self.chance(0.5):
            self.add(file.host, "write", into.name, "d0.20")
            self.add(file.host, "splice", out.name, self.fd(file), self.pick(5, 20, 100), flags)
        else:
            self.add(file.host, "splice", self.fd(file), into.name, self.pick(5, 20, 100), flags)

    def receive(self):
        file = self.sender()
        if file and self.chance(0.6):
            self.add(file.host, self.pick("recv", "recv", "recv", "recv_chk"), self.fd(file), self.room(),
                     self.receive_flags())
        elif file:
            self.add(file.host, "recvfrom", self.fd(file), self.room(), self.receive_flags(), self.address_room())

    def receive_message(self):
        file = self.sender()
        if not file:
            return
        if self.wrong():
            self.add(file.host, "recvmsg_null", file.name, "MSG_DONTWAIT")
            return
        self.add(file.host, "recvmsg", self.fd(file), self.rooms(), self.receive_flags(), self.pick(
            "null", "o16", "o16", "o28", "o4", "o0", "badaddress16" if self.wrong() else "o16"), self.pick("b0", "b100", "b100", "b200", "b20", "b8", "null8"))

    def receive_many(self):
        file = self.some("udp", "udp", "tcp")
        if file:
            self.add(file.host, "recvmmsg", self.fd(file), self.receive_flags() + self.pick("", "|MSG_WAITFORONE"),
                     self.pick(-1, -1, 0, 5), *(self.rooms() for _ in range(self.pick(0, 1, 2, 3))))

    def read(self):
        file = self.some("tcp", "udp", "pipe")
        if not file:
            return
        call = self.pick("read", "readv", "preadv2", "preadv2", "preadv", "pread", "read_chk")
        room = self.room() if call in ("read", "pread", "read_chk") else self.rooms()
        more = {"preadv2": [self.pick("-1", "-1", "-1", "0"), self.pick("RWF_NOWAIT", "RWF_NOWAIT", "RWF_HIPRI", "64")],
                "preadv": [self.pick("0", "5", "-1")], "pread": [self.pick("0", "5", "-1")]}.get(call, [])
        self.add(file.host, call, self.fd(file), room, *more, worker=self.waits(file.host) if call in (
            "read", "readv", "read_chk") else 0)

    def waits(self, host):
        """A thread of the host for a call that may wait."""
        for worker in (1, 2):
            if (host, worker) not in self.busy:
                if self.chance(0.5):
                    self.busy.add((host, worker))
                return worker
        return self.pick(1, 2)

    def wait_for_data(self):
        """A call that waits in the second thread, and what may end it."""
        file = self.some("tcp", "udp", states=("connected", "listening", "bound"))
        if not file:
            return
        worker = self.waits(file.host)
        self.awaited.add(id(file.first or file))
        if file.state == "listening":
            made = self.new_file(file.host, "tcp", state="connected")
            self.add(file.host, "accept", file.name, "o16", slot=made.name, worker=worker)
        else:
            self.weighted([
                (5, lambda: self.add(file.host, "recv", file.name, self.room(), self.receive_flags(True), worker=worker)),
                (2, lambda: self.add(file.host, "recv", file.name, "b1000", "MSG_WAITALL", worker=worker)),
                # With no room for anything the kernel waits, but for what would be hard to say.
                (2, lambda: self.add(file.host, "recvmsg", file.name, f"b8,{self.rooms()}", self.receive_flags(True), "o16",
                                     "b100", worker=worker)),
                (2, lambda: self.add(file.host, "poll", f"{file.name}:{self.pick('POLLIN', 'POLLRDHUP', '0', 'POLLPRI')}",
                                     "-1", worker=worker)),
                (1, lambda: self.add(file.host, "select", f"{file.name}:{self.pick('r', 'x', 'rx')}", "-1",
                                     worker=worker)),
                (1, lambda: self.add(file.host, "recvmmsg", file.name, "0", "-1", "b10", "b10", worker=worker)),
            ])()
        if self.chance(0.3):
            self.end_wait(file, worker)

    def end_wait(self, file, worker):
        """What may end a call of that thread on that descriptor."""
        peer = file.peer or file
        others = self.some("tcp", "udp", host=file.host) or file
        self.weighted([(2, lambda: self.shut(file)), (2, lambda: self.close(file)),
                       (2, lambda: self.add(file.host, "signal", worker, self.pick("SIGUSR1", "SIGUSR2"))),
                       (1, lambda: self.shut(peer)), (1, lambda: self.close(peer)),
                       (1, lambda: self.add(peer.host, "send", peer.name, self.data(), "MSG_NOSIGNAL|MSG_DONTWAIT")),
                       (1, lambda: self.add(file.host, "dup2", others.name, file.name)),
                       (1, lambda: self.option_on(file)),
                       (1, lambda: self.add(file.host, "connect", file.name, "@any:0/family=AF_UNSPEC"))])()

    def wait_for_room(self):
        """A call that waits until the peer reads."""
        file = self.some("tcp", states=("connected",))
        if not file or not file.peer:
            return
        worker = self.waits(file.host)
        self.add(file.host, "fcntl", file.name, "F_SETFL", "0")
        self.add(file.host, "fill", file.name)
        if self.chance(0.5):
            # So much that it has to wait; how much of it is taken before is a matter of buffers.
            self.add(file.host, *self.pick(("send", file.name, "d7.300000", "MSG_NOSIGNAL"),
                                           ("writev", file.name, "d1.10,d7.300000")), worker=worker)
            self.add(file.peer.host, "drain", file.peer.name)
            return
        self.add(file.host, *self.pick(("poll", f"{file.name}:{self.pick('POLLOUT', 'POLLOUT|POLLIN')}", "-1"),
                                       ("select", f"{file.name}:{self.pick('w', 'wx')}", "-1")), worker=worker)
        self.weighted([(2, lambda: self.add(file.peer.host, "drain", file.peer.name)),
                       (1, lambda: self.end_wait(file, worker))])()

    def wait_for_connection(self):
        """connect to where nobody answers."""
        file = self.socket(self.pick(*HOSTS), "tcp", "|SOCK_CLOEXEC")
        worker = self.waits(file.host)
        self.add(file.host, "connect", file.name, "@hole:9", worker=worker)
        if self.chance(0.3):
            call, data = self.pick(("send", "d0.10"), ("recv", "b10"))
            self.add(file.host, call, file.name, data, "0", worker=self.waits(file.host))
        self.end_wait(file, worker)

    def wait_for_several(self):
        """poll, select or epoll_wait on some, while the first thread changes what they are."""
        host, files = self.polled("POLLIN", "POLLRDHUP", "POLLIN|POLLPRI")
        existing = self.some("epoll", host=host)
        if not files and not existing:
            return
        worker = self.waits(host)
        if existing and self.chance(0.7):
            self.add(host, self.pick("epoll_wait", "epoll_pwait", "epoll_pwait2"), existing.name, 16, "-1", worker=worker)
        elif files:
            self.add(host, self.pick("poll", "ppoll"), files, "-1", worker=worker)
        file = self.some("tcp", "udp", host=host)
        if existing and self.chance(0.5):
            self.change_set(existing)
        elif file:
            self.end_wait(file, worker)

    # ---- two calls at once

    def harmless(self, file):
        """A call that leaves the descriptor as it is."""
        self.weighted([
            (3, lambda: self.add(file.host, "getsockname", file.name, "o16")),
            (2, lambda: self.add(file.host, "getsockopt", file.name, "SOL_SOCKET", "SO_TYPE", "b4")),
            (2, lambda: self.add(file.host, "fcntl", file.name, "F_GETFD", "0")),
            (1, lambda: self.add(file.host, "getsockopt", file.name, "SOL_SOCKET", "SO_KEEPALIVE", "b4")),
        ])()

    def one_of_two(self, file, alone=True):
        """A call whose outcome is its own matter, beside one on another descriptor of its host; or, not `alone`,
        beside a harmless one on the same."""
        self.weighted([
            (5, lambda: self.add(file.host, "send", file.name, self.data() if file.kind == "tcp" else "d0.50",
                                 "MSG_DONTWAIT|MSG_NOSIGNAL")),
            (4, lambda: self.add(file.host, "recv", file.name, self.room(), self.receive_flags())),
            (2, lambda: self.add(file.host, "shutdown", file.name, self.pick("SHUT_WR", "SHUT_RD", "SHUT_RDWR"))),
            *([(2, lambda: self.close(file)), (2, lambda: self.set_option(file, self.option_of(file)))] if alone else []),
            (2, lambda: self.harmless(file)),
        ])()

    def join_last_two(self, before):
        """The last two steps are made at once, by two threads of a host or by both hosts."""
        if len(self.steps) - before < 2:
            return
        first, second = self.steps[-2:]
        worker = first.worker
        if first.host == second.host:
            free = [one for one in (1, 2) if (first.host, one) not in self.busy]
            if not free:
                return
            worker = self.random.choice(free)
        self.steps[-2] = replace(first, together=True, worker=worker)

    def at_once(self):
        """Two calls on different descriptors, or one of them on the same that changes nothing."""
        one = self.some("tcp", "udp", states=("connected",))
        if not one:
            return
        before = len(self.steps)
        others = [file for file in self.files if file.kind in ("tcp", "udp") and file.host == one.host and
                  (file.first or file) is not (one.first or one) and file.state == "connected"]
        if others and self.chance(0.6):
            other = self.random.choice(others)
            self.one_of_two(one)
            self.one_of_two(other)
        else:
            self.harmless(one)
            self.one_of_two(one, alone=False)
        self.join_last_two(before)

    def wait_and_give(self):
        """A call that waits, and what it waits for, at once."""
        one = self.some("tcp", states=("connected",))
        if not one or not one.peer or one.peer.state != "connected" or id(one.first or one) in self.awaited:
            return
        before = len(self.steps)
        self.weighted([
            (4, lambda: self.add(one.host, "recv", one.name, "b100", "0")),
            (1, lambda: self.add(one.host, "recvmsg", one.name, "b8,b100", "0", "o16", "b100")),
            (1, lambda: self.add(one.host, "poll", f"{one.name}:POLLIN", "-1")),
            (1, lambda: self.add(one.host, "select", f"{one.name}:r", "-1")),
        ])()
        peer = one.peer
        self.weighted([
            (4, lambda: self.add(peer.host, "send", peer.name, f"d3.{self.pick(1, 10, 100)}", "MSG_NOSIGNAL")),
            (1, lambda: self.add(peer.host, "shutdown", peer.name, "SHUT_WR")),
            (1, lambda: self.close(peer)),
        ])()
        worker = self.waits(one.host)
        self.steps[before] = replace(self.steps[before], together=True, worker=worker)

    def fill(self):
        file = self.some("tcp", states=("connected",))
        if file:
            self.add(file.host, "fill", file.name)

    def drain(self):
        file = self.some("tcp", "udp")
        if file:
            self.add(file.host, "drain", file.name)

    def shut(self, file=None):
        file = file or self.sender()
        if file:
            self.add(file.host, "shutdown", self.fd(file), self.random.choices(
                ["SHUT_WR", "SHUT_RD", "SHUT_RDWR", "3", "-1"], [10, 5, 5, 1, 1])[0])

    def close(self, file=None):
        file = file or self.some("tcp", "tcp", "udp", "epoll", "pipe")
        if file:
            file.state = "closed"
            if self.chance(0.1):
                self.add(file.host, "close_range", file.name, 0)
            else:
                self.add(file.host, "close", file.name)

    def ask_kind(self):
        file = self.some("tcp", "udp", "epoll", "pipe")
        if file:
            self.weighted([
                (3, lambda: self.add(file.host, "sockatmark", self.fd(file))),
                (2, lambda: self.add(file.host, "isfdtype", self.fd(file), self.pick("S_IFSOCK", "S_IFREG"))),
                (1, lambda: self.add(file.host, "close_range", file.name, "CLOSE_RANGE_CLOEXEC")),
                (1, lambda: self.add(file.host, "socketpair", "AF_INET", self.pick("SOCK_STREAM", "SOCK_DGRAM"))),
                (1, lambda: self.add(file.host, "tee", self.fd(file), file.name, 5, "SPLICE_F_NONBLOCK")),
            ])()

    def duplicate(self):
        file = self.some("tcp", "udp", "epoll")
        if not file:
            return
        made = self.new_file(file.host, file.kind, state=file.state, port=file.port, peer=file.peer,
                             first=file.first or file)
        target = self.some("tcp", "udp", "epoll", "pipe", host=file.host) or file
        call, words = self.weighted([
            (4, ("dup", ())), (3, ("dup2", (target.name,))), (2, ("dup2", ("60",))),
            (2, ("dup3", (self.pick(target.name, "61"), self.pick("0", "O_CLOEXEC", "O_NONBLOCK")))),
            (3, ("fcntl", (self.pick("F_DUPFD", "F_DUPFD_CLOEXEC"), self.pick("0", "40", "-1", "2000000"))))])
        self.add(file.host, call, self.fd(file), *words, slot=made.name)

    def control(self):
        file = self.some("tcp", "udp", "epoll", "pipe")
        if not file:
            return
        command, argument = self.weighted([
            (6, ("F_GETFL", "0")), (6, ("F_SETFL", self.pick("O_NONBLOCK", "0", "O_NONBLOCK|O_APPEND"))),
            (2, ("F_GETFD", "0")), (2, ("F_SETFD", self.pick("FD_CLOEXEC", "0"))), (1, ("F_GETOWN", "0")),
            (1, ("F_GETSIG", "0")), (1, ("F_SETSIG", self.pick("0", "-1", "100"))), (1, ("F_SETOWN", "0")),
            (1, ("F_GETLEASE", "0")), (1, ("4711", "0"))])
        self.add(file.host, "fcntl", self.fd(file), command, argument)

    def ioctl(self):
        file = self.some("tcp", "udp")
        if file:
            request, value = self.weighted([
                (6, ("FIONREAD", "77")), (3, ("FIONBIO", self.pick("0", "1", "5"))), (2, ("SIOCATMARK", "77")),
                (1, ("FIOASYNC", self.pick("0", "1"))), (1, (self.pick("SIOCSPGRP", "FIOSETOWN"), "0")),
                (1, (self.pick("FIOCLEX", "FIONCLEX"), "0")), (1, ("FIOGETOWN", "77")), (1, ("SIOCGPGRP", "77")), (1, ("TCGETS", "null")),
                (1, ("IOCTL_UNKNOWN", "77")), (2, ("TIOCOUTQ", "77")), (1, ("FIONREAD", self.pick("null", "bad")))])
            self.add(file.host, "ioctl", self.fd(file), request, value)

    def option_of(self, file):
        if self.family != "inet" and self.chance(0.35):
            return self.random.choice(V6)
        return self.random.choice({"tcp": TCP + COMMON, "udp": UDP + COMMON}[file.kind] if self.chance(0.95)
                                  else TCP + UDP)

    def set_option(self, file, option):
        value = self.random.choice(option.values)
        if self.wrong():
            value = self.pick("null4", "bad4", "null0", f"{value}/0", f"{value}/1", f"{value}/3", f"{value}/200",
                              f"{value}/-1")
        self.add(file.host, "setsockopt", self.fd(file), option.level, option.name, value)

    def option_on(self, file=None):
        file = file or self.sender()
        if file:
            option = self.option_of(file)
            self.set_option(file, option)
            if self.chance(0.3) and option.readable:
                self.add(file.host, "getsockopt", file.name, option.level, option.name, "b4")

    def ask_option(self):
        file = self.sender()
        if file:
            option = self.option_of(file)
            if self.wrong():
                self.add(file.host, "getsockopt_no_length", self.fd(file), option.level, option.name)
            elif option.readable:
                self.add(file.host, "getsockopt", self.fd(file), option.level, option.name, self.random.choices(
                    ["b4", "b16", "b0", "b1", "b3", "null4", "bad4", "b100"], [20, 5, 1, 2, 1, 1, 1, 2])[0])

    def ask_error(self):
        file = self.sender()
        if file:
            self.add(file.host, "getsockopt", file.name, "SOL_SOCKET", "SO_ERROR", "b4")

    def names(self):
        file = self.some("tcp", "udp", "pipe")
        if file:
            self.add(file.host, self.pick("getsockname", "getpeername"), self.fd(file), self.address_room())

    def connect_again(self):
        file = self.sender()
        if file:
            where = self.destination(file)
            if self.chance(0.25):
                where = "any:0/family=AF_UNSPEC"
            if "broadcast" in where and file.kind == "tcp":
                return
            self.add(file.host, "connect", self.fd(file), self.address(where) if "/" not in where else f"@{where}")

    def bind_again(self):
        file = self.sender()
        if file:
            taken = [one.port for one in self.files if one.port]
            port = self.pick("0", self.new_port(), *taken)
            where = self.random.choices(["any", file.host, "lo", self.other(file.host), "broadcast", "group"],
                                        [6, 6, 1, 1, 1, 1])[0]
            if file.state == "new":
                file.port, file.state = (port if port != "0" else None), "bound"
            self.add(file.host, "bind", self.fd(file), self.address(f"{where}:{port}"))

    def listen_again(self):
        file = self.sender()
        if file:
            self.add(file.host, "listen", self.fd(file), self.pick(0, 1, 5, 128, -1, 100000))
            if file.kind == "tcp" and file.state in ("new", "bound"):
                file.state = "listening"

    def accept_more(self):
        listener = self.some("tcp", states=("listening",)) or (self.some("tcp") if self.chance(0.3) else None)
        if not listener:
            return
        made = self.new_file(listener.host, "tcp", state="connected")
        self.add(listener.host, "fcntl", listener.name, "F_SETFL", "O_NONBLOCK")
        self.add(listener.host, "accept4", self.fd(listener), self.address_room(), self.pick(
            0, 0, "SOCK_NONBLOCK", "SOCK_CLOEXEC", "4"), slot=made.name)

    def connect_more(self):
        listener = self.some("tcp", states=("listening",))
        if listener and listener.port:
            self.client(listener, True)

    def open_more(self):
        if len(self.files) < 12:
            self.weighted([(3, self.datagrams), (2, self.connection), (2, self.bare)])()

    def odd_socket(self):
        host = self.pick(*HOSTS)
        self.slots += 1
        domain, kind, protocol = self.weighted([
            (2, ("AF_INET", "SOCK_STREAM", "IPPROTO_UDP")), (2, ("AF_INET", "SOCK_DGRAM", "IPPROTO_TCP")),
            (1, ("AF_INET", "99", "0")), (1, ("99", "SOCK_STREAM", "0")), (1, ("AF_INET", "SOCK_SEQPACKET", "0")),
            (1, ("AF_INET", "SOCK_STREAM|4", "0")), (1, ("AF_INET", "SOCK_STREAM", "-1")),
            (1, ("AF_UNIX", "SOCK_STREAM", "0"))])
        self.add(host, "socket", domain, kind, protocol, slot=f"s{self.slots}")

    def polled(self, *events):
        """Some descriptors of one host, each with what is asked of it."""
        host = self.pick(*HOSTS)
        found = [one for one in self.files if one.host == host and one.kind in ("tcp", "udp", "epoll", "pipe")]
        if not found:
            return host, None
        chosen = self.random.sample(found, min(len(found), self.pick(1, 2, 3)))
        names = [self.fd(one) if self.chance(0.3) else one.name for one in chosen]
        return host, ",".join(f"{name}:{self.random.choice(events)}" for name in names)

    def poll(self):
        host, files = self.polled("POLLIN", "POLLIN|POLLOUT", "POLLOUT", "0", "POLLRDHUP", "POLLIN|POLLPRI",
                                  "POLLRDNORM|POLLWRNORM|POLLRDBAND", "POLLIN|POLLRDHUP|POLLHUP|POLLERR")
        if files:
            self.add(host, self.pick("poll", "poll", "ppoll"), files, self.pick(0, 0, 0, 5))

    def select(self):
        host, files = self.polled("r", "w", "rw", "rwx", "x")
        if files:
            self.add(host, self.pick("select", "select", "pselect"), files, self.pick(0, 0, 0, 5))

    def epoll(self):
        """A set, or something with one that there is."""
        existing = self.some("epoll")
        if not existing or self.chance(0.1):
            host = existing.host if existing else self.pick(*HOSTS)
            made = self.new_file(host, "epoll")
            self.add(host, "epoll_create1", self.pick(0, "O_CLOEXEC", 0, 0, "7"), slot=made.name)
            for _ in range(self.pick(1, 2, 3)):
                self.change_set(made, "EPOLL_CTL_ADD")
            return
        self.weighted([(5, lambda: self.wait_set(existing)), (3, lambda: self.change_set(existing))])()

    def change_set(self, a_set, operation=None):
        file = self.some("tcp", "tcp", "tcp", "udp", "udp", "epoll", "pipe", "file", host=a_set.host)
        if not file:
            return
        events = self.weighted([
            (6, "EPOLLIN"), (4, "EPOLLIN|EPOLLOUT"), (2, "EPOLLOUT"), (3, "EPOLLIN|EPOLLOUT|EPOLLET"),
            (2, "EPOLLIN|EPOLLET"), (2, "EPOLLIN|EPOLLOUT|EPOLLONESHOT"), (2, "EPOLLIN|EPOLLRDHUP"), (1, "0"),
            (1, "EPOLLIN|EPOLLEXCLUSIVE"), (1, "EPOLLIN|EPOLLPRI|EPOLLRDHUP|EPOLLET"), (1, "EPOLLRDHUP|EPOLLET"),
            (1, "EPOLLHUP"), (1, "null" if self.wrong() else "EPOLLIN")])
        operation = operation or self.pick("EPOLL_CTL_ADD", "EPOLL_CTL_ADD", "EPOLL_CTL_MOD", "EPOLL_CTL_DEL",
                                           "7" if self.wrong() else "EPOLL_CTL_MOD")
        self.add(a_set.host, "epoll_ctl", self.fd(a_set), operation, self.fd(file), events, file.name[1:])

    def wait_set(self, a_set):
        worker, limit = 0, self.pick(0, 0, 0, 5)
        if self.chance(0.15):
            worker, limit = self.waits(a_set.host), -1
        self.add(a_set.host, self.pick("epoll_wait", "epoll_wait", "epoll_pwait", "epoll_pwait2"), self.fd(a_set),
                 16 if not self.wrong() else self.pick(0, -1), limit, worker=worker)

    def calls(self):
        return [(16, self.send), (4, self.send_message), (5, self.write), (2, self.send_many), (1, self.send_file),
                (1, self.splice), (16, self.receive), (5, self.receive_message), (2, self.receive_many),
                (6, self.read), *self.calls_of_threads(), (1, self.fill), (3, self.drain), (7, self.shut),
                (7, self.close), (5, self.duplicate), (4, self.control), (4, self.ioctl), (8, self.option_on),
                (6, self.ask_option), (4, self.ask_error), (2, self.ask_kind), (4, self.names), (4, self.connect_again),
                (2, self.bind_again), (2, self.listen_again), (3, self.accept_more), (3, self.connect_more),
                (3, self.open_more), (1, self.odd_socket), (6, self.poll), (4, self.select), (10, self.epoll)]

    def calls_of_threads(self):
        """In some sequences most calls are of them."""
        share = 8 if self.chance(0.25) else 1
        return [(share * weight, call) for weight, call in (
            (6, self.wait_for_data), (1, self.wait_for_room), (1, self.wait_for_connection),
            (2, self.wait_for_several), (3, self.at_once), (3, self.wait_and_give))]

    def sequence(self):
        self.open()
        calls = self.calls()
        wanted = len(self.steps) + self.random.randint(*BODY_STEPS)
        # Not every choice makes a step.
        for _ in range(4 * wanted):
            if len(self.steps) < wanted:
                self.weighted(calls)()
        return Sequence(tuple(self.steps), self.random.choice(ROLES))


def generate(seed, index, family="inet"):
    """The sequence of that number."""
    return replace(Generator(f"{seed}/{index}", family).sequence(), family=family)
