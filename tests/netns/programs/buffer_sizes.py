"""buffer_sizes.py PORT - what SO_SNDBUF and SO_BUF_LOCK of its connections read

Accepts connections, and sets SO_SNDBUF of every second. At each line of its input it accepts those that are there, sends
a byte on each, and prints a line: SIZE/LOCKS of each.
"""

import select
import socket
import sys

SO_BUF_LOCK = 72


def main():
    listener = socket.create_server(("", int(sys.argv[1])))
    connections = []
    for _ in sys.stdin:
        while select.select([listener], [], [], 0.2)[0]:
            connections.append(listener.accept()[0])
            if len(connections) % 2 == 0:
                connections[-1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 3_000_000)
        for one in connections:
            one.sendall(b"x")
        print(*(f"{one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)}/"
                f"{one.getsockopt(socket.SOL_SOCKET, SO_BUF_LOCK)}" for one in connections), flush=True)


main()
