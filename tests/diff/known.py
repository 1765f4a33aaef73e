"""known.py - the differences that are known and accepted: what they are, and why

The one table. Each entry says what docs/compatibility.md says of it (a test looks the words up there), and
which differences of transcripts are meant. Where a difference leaves the rest of a sequence as it was
(`goes_on`), comparing goes on behind it; otherwise the sequence is not looked at any further.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    name: str
    reason: str
    # Words of docs/compatibility.md.
    documented: str
    matches: object
    goes_on: bool = False


def _flag(name):
    return lambda one: one.step is not None and one.step.uses(name)


def _earlier(one, matches):
    """Whether a step before was such a one."""
    return any(matches(step) for step in one.sequence.steps[:one.index + 1])


_RECEIVERS = ("recv", "recv_chk", "recvfrom", "recvmsg", "recvmmsg", "read", "read_chk", "readv", "preadv2", "drain", "ioctl")


def _by_the_kernel(step):
    """A datagram that is too long for one frame, or stays on its host or goes to many."""
    words = " ".join(step.words)
    return (step.call.startswith(("send", "write", "pwrite", "dprintf")) and (
        any(int(size) > 1472 for size in re.findall(r"d\d+\.(\d+)", words)) or
        re.search(rf"@(lo|any|broadcast|group|{step.host}):|@name:", words) is not None or "control:" in words)
            or step.call == "connect" and re.search(rf"@(lo|any|{step.host}):", words) is not None)


def _is_part_of(less, more):
    """Whether a poll says of each descriptor what another says, or nothing."""
    some, all_of_them = re.findall(r"revents=(\S+)", less), re.findall(r"revents=(\S+)", more)
    return some != all_of_them and len(some) == len(all_of_them) and all(
        one in ("0", other) for one, other in zip(some, all_of_them))


KNOWN = [
    Known("the error queue", "the stack keeps no ICMP errors", "| MSG_ERRQUEUE | ICMP errors too", _flag("MSG_ERRQUEUE")),
    Known("zero-copy notes", "bytes are always copied", "| MSG_ZEROCOPY | lends the pages",
          lambda one: _earlier(one, lambda step: step.uses("MSG_ZEROCOPY") or step.uses("SO_ZEROCOPY"))),
    Known("splice", "EINVAL has the program copy", "| `splice` from a datagram socket | moves bytes",
          lambda one: one.call == "splice"),
    Known("the last segment of a handshake", "it is not held back for company", "| TCP_QUICKACK off before `connect` |",
          lambda one: one.call == "connect" and one.kind == "ready" and _earlier(
              one, lambda step: step.call == "setsockopt" and step.uses("TCP_QUICKACK"))),
    Known("a port that connections still have", "the connections are not the kernel's, which guards the port",
          "`bind` and `listen` without SO_REUSEADDR on a port that connections",
          lambda one: one.call in ("bind", "listen") and "EADDRINUSE" in one.kernel and one.bypass == "result: 0"),
    Known("the number of a blocked accept", "a descriptor is made when there is something for it",
          "| a blocked `accept` | has reserved the number",
          lambda one: _earlier(one, lambda step: step.call.startswith("accept")) and one.kind == "result" and
          re.sub(r": \d+", ":", one.kernel) == re.sub(r": \d+", ":", one.bypass) and
          one.call in ("socket", "dup", "accept", "accept4", "epoll_create1", "fcntl", "file")),
    Known("the segment size of a failed connect", "the kernel socket behind it has never connected",
          "| TCP_MAXSEG, IP_MTU of a socket whose connect has failed |", lambda one: one.call == "getsockopt" and
          (one.step.uses("TCP_MAXSEG") or one.step.uses("IP_MTU")) and _earlier(one, lambda step: step.call == "connect")),
    Known("what a failed connect has sent", "the kernel socket behind it has never connected",
          "| TIOCOUTQ (SIOCOUTQ) of a socket whose connect has failed |", lambda one: one.call == "ioctl" and
          one.step.uses("TIOCOUTQ") and (one.kernel, one.bypass) == ("result: 0 value=3", "result: 0 value=0") and
          _earlier(one, lambda step: step.call == "connect"), goes_on=True),
    Known("a failed connect's port", "its kernel socket was bound to have it", "| `bind` of a socket whose connect has failed |",
          lambda one: one.call == "bind" and (one.kernel, one.bypass) == ("result: 0", "result: -1 EINVAL") and
          _earlier(one, lambda step: step.call == "connect")),
    Known("the order of two paths", "each path has a queue of its own", "| datagrams that come over both paths",
          lambda one: _earlier(one, _by_the_kernel) and (one.kind == "ready" or one.call in _RECEIVERS)),
    Known("the size of buffers", "the stack's are its own; the kernel's grow as it sees fit",
          "| SO_SNDBUF, SO_RCVBUF, TCP_WINDOW_CLAMP | memory", lambda one: one.call == "getsockopt" and any(
              map(one.step.uses, ("SO_SNDBUF", "SO_RCVBUF", "TCP_WINDOW_CLAMP"))), goes_on=True),
    Known("news that come together", "a batch of frames is handled before anybody is woken", "What comes in one batch of frames",
          lambda one: one.kind == "returns" and _is_part_of(one.kernel, one.bypass)),
]


def known(difference):
    """The entry that a difference is one of, or None."""
    return next((one for one in KNOWN if one.matches(difference)), None)
