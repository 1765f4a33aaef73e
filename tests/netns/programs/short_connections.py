"""short_connections.py HOST PORT COUNT [DESCRIPTORS] - one connection after the other to an echo server

Each is closed by us first, so that its TIME-WAIT is ours. Prints how many came about, and what the others said.
DESCRIPTORS is RLIMIT_NOFILE.
"""

import collections
import errno
import resource
import socket
import sys


def attempt(address):
    """The name of the error, or "ok"."""
    try:
        with socket.create_connection(address) as sock:
            sock.sendall(b"x")
            return "ok" if sock.recv(1) == b"x" else "closed"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


def main():
    address = (sys.argv[1], int(sys.argv[2]))
    if len(sys.argv) > 4:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[4]), hard))
    outcomes = collections.Counter(attempt(address) for _ in range(int(sys.argv[3])))
    for name, count in sorted(outcomes.items()):
        print(name, count)


main()
