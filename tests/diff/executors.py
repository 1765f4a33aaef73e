"""executors.py - runs sequences on the two hosts of a lab, on the kernel or under Underpass

The steps of both hosts are made one after the other. After each, both hosts are looked at until nothing
changes any more, so that what a step shows does not depend on how long its packets take. What is compared is
the transcript: of each step the result, the calls of other threads that it has ended, and what every
descriptor is ready for once all is quiet.
"""

import collections
import os
import re
import select
import time
from dataclasses import dataclass

from constants import poll_text
from lab import BUILD
from sequence import HOSTS, Place, address_of, command

EXECUTOR = os.path.join(BUILD, "tests", "diff", "executor")
# Only a hang reaches it.
ANSWER_LIMIT_S = 20
# A call that has slept for so long waits for something: the limits in sequences are shorter.
BLOCKED_S = 0.06
# Bytes that TCP holds back may go after a delayed ACK (40 ms) or be flushed by the cork's timer (200 ms).
HELD_S = 0.3
# The same twice in a row, and for so long, is quiet; the first looks follow one another at once. On a busy machine
# a stack whose program sleeps needs a moment to answer.
QUIET_LOOKS = 2
QUIET_S = 0.002
PATIENCE = 25
HASTY_LOOKS = 3
PAUSE_S = 0.0005
# From here on it is a matter of buffers and of time.
MANY = 20000


class Ended(Exception):
    """An executor died or hangs."""


class Executor:
    """The program on one host."""

    def __init__(self, host, bypass):
        self.host, self.bypass, self.process = host, bypass, None

    def start(self):
        self.process = self.host.popen([EXECUTOR], bypass=self.bypass, name="executor", stdin=-1, stdout=-1)
        self.text = b""

    def stop(self):
        if self.process is None:
            return
        self.process.end()
        self.process = None

    def ask(self, line):
        if self.process is None:
            self.start()
        try:
            os.write(self.process.popen.stdin.fileno(), line.encode() + b"\n")
        except BrokenPipeError:
            raise Ended(self.describe_death()) from None
        return self.read_line()

    def read_line(self):
        stdout = self.process.popen.stdout.fileno()
        deadline = time.monotonic() + ANSWER_LIMIT_S
        while b"\n" not in self.text:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([stdout], [], [], left)[0]:
                raise Ended("hangs")
            got = os.read(stdout, 65536)
            if not got:
                raise Ended(self.describe_death())
            self.text += got
        line, _, self.text = self.text.partition(b"\n")
        return line.decode()

    def describe_death(self):
        return f"died: status {self.process.popen.wait()}"


@dataclass(frozen=True)
class Look:
    """What an executor says of itself."""
    workers: tuple      # (state, words of the last call)
    held_bytes: int
    sockets: str

    @staticmethod
    def parse(line):
        *workers, held_bytes, sockets = line.split(";")
        return Look(tuple(tuple(one.partition(" ")[::2]) for one in workers), int(held_bytes), sockets.strip())


class Names:
    """Makes what differs from run to run the same: ports, amounts that depend on buffers."""

    def __init__(self, addresses, ports):
        self.hosts = {address: name for name, address in addresses.items()}
        self.hosts.update({"0.0.0.0": "any", "127.0.0.1": "lo", "::": "any", "::1": "lo"})
        self.ports = {number: name for name, number in ports.items()}

    def port(self, number):
        if number == 0:
            return "0"
        # Those that the kernel chooses, in the order in which they are seen.
        return self.ports.setdefault(number, f"E{len(self.ports)}")

    def address(self, data):
        found = address_of(data)
        if found is None and len(data) >= 4:  # cut
            return f"{data[:2].hex()}:{self.port(int.from_bytes(data[2:4], 'big'))}{data[4:].hex()}"
        if found is None:
            return data.hex() or "none"
        host, port = found
        rest = (data[8:] if len(data) <= 16 else data[4:8] + data[24:]).hex().strip("0")
        return f"{self.hosts.get(host, host)}:{self.port(port)}{'+' + rest if rest else ''}"

    def amount(self, number):
        return "many" if number > MANY else str(number)

    def result(self, text):
        words = text.split(" ")
        if words[0].isdigit():
            words[0] = self.amount(int(words[0]))
        return " ".join(map(self.word, words))

    def word(self, word):
        name, equals, value = word.partition("=")
        if not equals:
            return word
        if name == "address":
            return f"address={self.address(bytes.fromhex(value[1:]))}"
        if name == "revents":
            return f"revents={poll_text(int(value))}"
        if name == "event":
            data, _, events = value.partition(":")
            return f"event=s{data}:{poll_text(int(events))}"
        if name == "value" and value.lstrip("-").isdigit():
            return f"value={self.amount(int(value))}"
        # Of what `fill` sends, how much comes depends on buffers.
        return re.sub(r"#+(\.\.\.\d+:\d+)?", "#", word) if name == "data" else word

    def sockets(self, text):
        return " ".join(map(self.one_socket, text.split()))

    def one_socket(self, text):
        slot, revents, *more = text.split(":")
        more = [self.amount(int(one)) if one.isdigit() else one for one in more]
        return f"{slot}={':'.join([poll_text(int(revents)), *more])}"


class Run:
    """One sequence on two executors."""

    def __init__(self, sequence, executors, place, quiet_s):
        self.sequence, self.executors, self.place, self.quiet_s = sequence, executors, place, quiet_s
        # A SYN that nobody answers is held for good.
        hopeless = any("@hole" in word for step in sequence.steps for word in step.words)
        self.held_s = BLOCKED_S if hopeless and quiet_s <= QUIET_S else HELD_S
        place.name_of = self.name_of
        self.names = Names(place.addresses, place.ports)
        self.waiting = set()        # (host, worker) that are in a call
        self.together = set()       # of them, those that a step was begun beside
        self.blocked = set()
        self.stuck = None           # the look with bytes that will not go
        self.lines = []

    def transcript(self):
        """A tuple of lines for each step, and one for the end."""
        transcript = []
        steps = self.sequence.steps
        for step, following in zip(steps, (*steps[1:], None)):
            self.lines = []
            try:
                if step.together and following:
                    self.begin(step)
                else:
                    self.make(step)
                    self.settle()
            except Ended as end:
                transcript.append((*self.lines, f"executor {end}"))
                return transcript
            transcript.append(tuple(self.lines))
        self.lines = []
        try:
            for host in HOSTS:
                for worker, words in enumerate(self.executors[host].ask("end").split(";")[1:-1]):
                    if words:
                        self.waiting.discard((host, worker))
                        self.blocked.discard((host, worker))
                        self.say(f"{host}/{worker} ends", self.names.result(words))
                self.settle()
        except Ended as end:
            self.lines.append(f"executor {end}")
        return [*transcript, tuple(self.lines)]

    def say(self, what, text):
        self.lines.append(f"{what}: {text}")

    def name_of(self, slot):
        """The address under which another host reaches it."""
        for host in HOSTS:
            answer = self.executors[host].ask(f"name {slot}")
            if answer != "none":
                found = address_of(bytes.fromhex(answer))
                return found and (
                    self.place.addresses[host] if found[0] in ("0.0.0.0", "::") else found[0], found[1])
        return None

    def begin(self, step):
        """What comes of it is said with what comes of the next step."""
        answer = self.executors[step.host].ask(command(step, self.place, "begin"))
        if answer == "pending":
            self.waiting.add((step.host, step.worker))
            self.together.add((step.host, step.worker))
        else:
            self.say("result", answer)

    def make(self, step):
        answer = self.executors[step.host].ask(command(step, self.place))
        if answer == "pending" and step.call != "signal":
            self.waiting.add((step.host, step.worker))
        elif step.call != "signal":
            self.say("result", self.names.result(answer))

    def look(self):
        return {host: Look.parse(self.executors[host].ask("look")) for host in HOSTS}

    def settle(self):
        """Looks until nothing changes, and says what there is then."""
        seen, since, same, looks = None, time.monotonic(), 0, 0
        while True:
            now = self.look()
            looks += 1
            if now == seen:
                same += 1
            else:
                seen, since, same = now, time.monotonic(), 0
            if same >= QUIET_LOOKS and self.is_quiet(seen, time.monotonic() - since):
                break
            if time.monotonic() - since > ANSWER_LIMIT_S:
                raise Ended("is never quiet")
            if looks > HASTY_LOOKS:
                time.sleep(PAUSE_S)
        self.note(seen)

    def is_quiet(self, looks, quiet_s):
        if quiet_s < self.quiet_s:
            return False
        for host, look in looks.items():
            for worker, (state, _) in enumerate(look.workers):
                who = (host, worker)
                if state == "run":
                    return False
                if state == "sleep" and who not in self.blocked and quiet_s < BLOCKED_S:
                    return False
        held = any(look.held_bytes for look in looks.values())
        if held and looks != self.stuck and quiet_s < self.held_s:
            return False
        self.stuck = looks if held else None
        return True

    def note(self, looks):
        for host, look in looks.items():
            for worker, (state, words) in enumerate(look.workers):
                self.note_worker((host, worker), state, words)
        for host, look in looks.items():
            self.say(host, self.names.sockets(look.sockets))

    def note_worker(self, who, state, words):
        if state == "sleep":
            if who not in self.blocked:
                self.say(self.said_of(who), "blocked")
            self.blocked.add(who)
            self.together.discard(who)
        elif who in self.waiting:
            what = f"{who[0]}/{who[1]} returns" if who in self.blocked else self.said_of(who)
            for those in (self.waiting, self.blocked, self.together):
                those.discard(who)
            self.say(what, self.names.result(words))

    def said_of(self, who):
        return f"{who[0]}/{who[1]} meanwhile" if who in self.together else "result"


class Stage:
    """The lab's two hosts, with an executor of each kind on each."""

    # Below net.ipv4.ip_local_port_range, as the lab sets it.
    PORTS = range(10000, 50000)

    def __init__(self, lab):
        self.lab = lab
        self.hosts = dict(zip(HOSTS, lab.hosts))
        self.kinds = {(name, bypass): Executor(host, bypass)
                      for name, host in self.hosts.items() for bypass in (False, True)}
        self.next_port = 0
        # The counters of the bypassed executors that have ended, by host.
        self.bypassed = {name: collections.Counter() for name in HOSTS}
        for host in lab.hosts:
            for name, value in (("ip_local_port_range", "50000 60999"), ("icmp_ratelimit", "0"),
                                ("icmp_msgs_per_sec", "1000000"), ("icmp_msgs_burst", "1000000")):
                host.run(["sh", "-c", f"echo {value} >/proc/sys/net/ipv4/{name}"])
            for family in ("inet", "inet6"):
                host.run(["ip", "neighbour", "replace", self.hole(host, family), "lladdr", "02:00:00:00:00:99",
                          "dev", host.iface, "nud", "permanent"])

    def stop(self):
        """Ends the executors; the next sequence starts new ones."""
        for (name, _), executor in self.kinds.items():
            if executor.bypass and executor.process:
                self.bypassed[name].update(self.hosts[name].client(executor.process) or {})
            executor.stop()

    def new_port(self):
        self.next_port = (self.next_port + 1) % len(self.PORTS)
        return self.PORTS[self.next_port]

    def address(self, name, family):
        if name == "hole":
            return self.hole(self.hosts["A"], family)
        return self.hosts[name].address6 if family == "inet6" else self.hosts[name].address

    @staticmethod
    def hole(host, family):
        """An address of their network whose frames nobody takes."""
        address = host.address6 if family == "inet6" else host.address
        return re.sub(r"[.:]\w+$", lambda last: last[0][0] + "99", address)

    def run(self, sequence, bypass, patient=False):
        """The transcript with the hosts of `bypass` under Underpass. What is seen in haste may be the machine's."""
        executors = {name: self.kinds[name, name in bypass] for name in HOSTS}
        addresses = {name: self.address(name, sequence.family) for name in (*HOSTS, "hole")}
        place = Place(addresses, {name: self.new_port() for name in sequence.ports()}, None, sequence.family)
        transcript = Run(sequence, executors, place, QUIET_S * (PATIENCE if patient else 1)).transcript()
        if any(line.startswith("executor ") for line in transcript[-1]):
            for executor in executors.values():
                executor.stop()
        return transcript
