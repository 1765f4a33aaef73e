"""sequence.py - sequences of socket calls on two hosts: their text, and what the executor is sent

A sequence is a file of lines, one for each step:

    A s1 = socket AF_INET SOCK_STREAM 0
    A bind s1 @A:P0
    B/1 recv s2 b100 MSG_WAITALL          in the host's second thread
    B/1& send s2 d0.10 0                  the next step begins before this one is over
    A signal 1 SIGUSR1                    to the thread that is in a call there

The words are those of tests/diff/executor/arguments.h, but for names of constants, and for

    @A:P0 @any:0 @lo:P1 @name:s3          an address; P0 is a port of its own in each run; /len=7 /family=0
    @hole:9                               one that nobody answers from
    int:5 int:5/2 linger:1,0 time:0,5000  the value of an option, and its length if it is not the natural one
    text:reno hex:0a0b
    control:SOL_IP,IP_TTL,5               one control message with a number in it
"""

import ipaddress
import re
import socket
import struct
from dataclasses import dataclass, field, replace

from constants import CONSTANTS, value_of

HOSTS = "AB"
FAMILIES = ("inet", "mapped", "inet6")
STEP = re.compile(r"^(?P<host>[AB])(?:/(?P<worker>[0-2]))?(?P<together>&?) (?:(?P<slot>s\d+) = )?(?P<call>\w+)(?P<words>.*)$")
PORT = re.compile(r"\bP\d+\b")


class Malformed(ValueError):
    """Not a sequence."""


@dataclass(frozen=True)
class Step:
    host: str
    call: str
    words: tuple = ()
    slot: str = None
    worker: int = 0
    together: bool = False      # with the next one

    def __str__(self):
        who = self.host + (f"/{self.worker}" if self.worker else "") + ("&" if self.together else "")
        made = f"{self.slot} = " if self.slot else ""
        return " ".join([f"{who} {made}{self.call}", *self.words])

    @staticmethod
    def parse(line):
        found = STEP.match(line)
        if not found:
            raise Malformed(f"not a step: {line!r}")
        return Step(found["host"], found["call"], tuple(found["words"].split()), found["slot"],
                    int(found["worker"] or 0), bool(found["together"]))

    def uses(self, name):
        """Whether a constant is among its words."""
        return any(name in re.split(r"[|,:/=]", word) for word in self.words)


@dataclass(frozen=True)
class Sequence:
    steps: tuple
    bypass: str = "AB"          # the hosts that are under Underpass
    family: str = "inet"        # or mapped: IPv4 through AF_INET6; or inet6
    notes: tuple = field(default=())

    def __str__(self):
        return "\n".join([*(f"# {note}".rstrip() for note in self.notes), f"bypass {self.bypass}",
                          *([f"family {self.family}"] if self.family != "inet" else []), *map(str, self.steps)]) + "\n"

    @staticmethod
    def parse(text):
        notes, steps, bypass, family = [], [], "AB", "inet"
        for line in filter(None, map(str.strip, text.splitlines())):
            if line.startswith("#"):
                notes.append(line[1:].strip())
            elif line.startswith("bypass "):
                bypass = line.split()[1]
            elif line.startswith("family "):
                family = line.split()[1]
            else:
                steps.append(Step.parse(line))
        if family not in FAMILIES:
            raise Malformed(f"no family: {family!r}")
        return Sequence(tuple(steps), bypass, family, tuple(notes))

    def with_steps(self, steps):
        return replace(self, steps=tuple(steps))

    def ports(self):
        """The names of ports in it, in their order."""
        return sorted({name for step in self.steps for word in step.words for name in PORT.findall(word)})


@dataclass
class Place:
    """Where a sequence runs: what its names stand for."""
    addresses: dict             # of each host
    ports: dict                 # of each name
    name_of: object             # slot -> (host, port) or None: what getsockname says of it
    family: str = "inet"

    def host_port(self, text):
        host, _, port = text.partition(":")
        if host == "name":
            return self.name_of(port)
        return self.special().get(host) or self.addresses[host], self.ports[port] if port in self.ports else int(port)


    def special(self):
        if self.family == "inet6":
            return {"any": "::", "lo": "::1", "broadcast": "ff02::1", "group": "ff02::77"}
        return {"any": "0.0.0.0", "lo": "127.0.0.1", "broadcast": "255.255.255.255", "group": "239.7.7.7"}

    def sockaddr(self, host, port, family):
        """The bytes for sockets of the sequence's family."""
        address = ipaddress.ip_address(host)
        if self.family == "inet":
            return struct.pack("=H", family) + struct.pack("!H", port) + address.packed + bytes(8)
        packed = address.packed
        if address.version == 4:
            packed = bytes(16) if host == "0.0.0.0" else bytes(10) + b"\xff\xff" + packed
        return struct.pack("=H", family) + struct.pack("!HI", port, 0) + packed + bytes(4)


def _value(data, length):
    return f"v{data.hex()}.{len(data) if length is None else length}"


def _address(word, place):
    where, *more = word[1:].split("/")
    options = dict(one.split("=") for one in more)
    family = value_of(options["family"]) if "family" in options else place_family(place)
    host, port = place.host_port(where) or (place.special()["any"], 0)
    data = place.sockaddr(host, port, family)
    return _value(data, int(options["len"]) if "len" in options else None)


def place_family(place):
    return socket.AF_INET if place.family == "inet" else socket.AF_INET6


def _number(text):
    value = value_of(text)
    if value is None:
        raise Malformed(f"no number: {text!r}")
    return value


def _option(kind, text):
    content, slash, length = text.partition("/")
    length = int(length) if slash else None
    parts = content.split(",")
    if kind == "int":
        return _value(struct.pack("=I", _number(content) & 0xffffffff), length)
    if kind == "linger":
        return _value(struct.pack("=ii", *map(int, parts)), length)
    if kind == "time":
        return _value(struct.pack("=qq", *map(int, parts)), length)
    if kind == "text":
        return _value(content.encode(), length)
    if kind == "hex":
        return _value(bytes.fromhex(content), length)
    level, name, number = map(_number, parts)
    message = struct.pack("=Qiii", 20, level, name, number) + bytes(4)
    return _value(message, length)


def resolve(word, place):
    """A word of a step as the executor takes it."""
    if word.startswith("@"):
        return _address(word, place)
    kind, colon, text = word.partition(":")
    if colon and kind in ("int", "linger", "time", "text", "hex", "control"):
        return _option(kind, text)
    if colon and re.match(r"s\d|-?\d", word):
        pairs = (one.partition(":") for one in word.split(","))
        return ",".join(f"{name}:{events if value_of(events) is None else value_of(events)}"
                        for name, _, events in pairs)
    if word == "AF_INET":
        return str(int(place_family(place)))
    value = value_of(word) if word.split("|")[0] in CONSTANTS else None
    return word if value is None else str(value)


def command(step, place, verb="run"):
    """The line for the executor."""
    words = [resolve(word, place) for word in step.words]
    if step.call == "signal":
        return " ".join(["signal", *words])
    slot = step.slot[1:] if step.slot else "-"
    return " ".join([verb, str(step.worker), slot, step.call, *words])


def address_of(data):
    """(host, port) of a sockaddr's bytes, IPv4 also where it is mapped; None for what is none."""
    if len(data) < 8:
        return None
    family, port = struct.unpack("=H", data[:2])[0], struct.unpack("!H", data[2:4])[0]
    if family == socket.AF_INET:
        return str(ipaddress.IPv4Address(data[4:8])), port
    if family != socket.AF_INET6 or len(data) < 24:
        return None
    address = ipaddress.IPv6Address(data[8:24])
    return str(address.ipv4_mapped or address), port
