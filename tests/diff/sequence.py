"""sequence.py - sequences of socket calls on two hosts: their text, and what the executor is sent

A sequence is a file of lines, one for each step:

    A s1 = socket AF_INET SOCK_STREAM 0
    A bind s1 @A:P0
    B/1 recv s2 b100 MSG_WAITALL          in the host's second thread
    A signal 1 SIGUSR1                    to the thread that is in a call there

The words are those of tests/diff/executor/arguments.h, but for names of constants, and for

    @A:P0 @any:0 @lo:P1 @name:s3          an address; P0 is a port of its own in each run; /len=7 /family=0
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
STEP = re.compile(r"^(?P<host>[AB])(?:/(?P<worker>[01]))? (?:(?P<slot>s\d+) = )?(?P<call>\w+)(?P<words>.*)$")
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

    def __str__(self):
        who = self.host + (f"/{self.worker}" if self.worker else "")
        made = f"{self.slot} = " if self.slot else ""
        return " ".join([f"{who} {made}{self.call}", *self.words])

    @staticmethod
    def parse(line):
        found = STEP.match(line)
        if not found:
            raise Malformed(f"not a step: {line!r}")
        return Step(found["host"], found["call"], tuple(found["words"].split()), found["slot"],
                    int(found["worker"] or 0))

    def uses(self, name):
        """Whether a constant is among its words."""
        return any(name in re.split(r"[|,:/=]", word) for word in self.words)


@dataclass(frozen=True)
class Sequence:
    steps: tuple
    bypass: str = "AB"          # the hosts that are under Underpass
    notes: tuple = field(default=())

    def __str__(self):
        return "\n".join([*(f"# {note}".rstrip() for note in self.notes), f"bypass {self.bypass}",
                          *map(str, self.steps)]) + "\n"

    @staticmethod
    def parse(text):
        notes, steps, bypass = [], [], "AB"
        for line in filter(None, map(str.strip, text.splitlines())):
            if line.startswith("#"):
                notes.append(line[1:].strip())
            elif line.startswith("bypass "):
                bypass = line.split()[1]
            else:
                steps.append(Step.parse(line))
        return Sequence(tuple(steps), bypass, tuple(notes))

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

    def host_port(self, text):
        host, _, port = text.partition(":")
        if host == "name":
            return self.name_of(port)
        address = {"any": "0.0.0.0", "lo": "127.0.0.1", "broadcast": "255.255.255.255",
                   "group": "239.7.7.7"}.get(host) or self.addresses[host]
        return address, self.ports[port] if port in self.ports else int(port)


def _value(data, length):
    return f"v{data.hex()}.{len(data) if length is None else length}"


def _address(word, place):
    where, *more = word[1:].split("/")
    options = dict(one.split("=") for one in more)
    family = value_of(options.get("family", "AF_INET"))
    host, port = place.host_port(where) or ("0.0.0.0", 0)
    data = struct.pack("=H", family) + struct.pack("!H", port) + ipaddress.IPv4Address(host).packed + bytes(8)
    return _value(data, int(options["len"]) if "len" in options else None)


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
    value = value_of(word) if word.split("|")[0] in CONSTANTS else None
    return word if value is None else str(value)


def command(step, place):
    """The line for the executor."""
    words = [resolve(word, place) for word in step.words]
    if step.call == "signal":
        return " ".join(["signal", *words])
    slot = step.slot[1:] if step.slot else "-"
    return " ".join(["run", str(step.worker), slot, step.call, *words])


def address_of(data):
    """(host, port) of a sockaddr's bytes, None for what is none."""
    if len(data) < 8 or struct.unpack("=H", data[:2])[0] != socket.AF_INET:
        return None
    return str(ipaddress.IPv4Address(data[4:8])), struct.unpack("!H", data[2:4])[0]
