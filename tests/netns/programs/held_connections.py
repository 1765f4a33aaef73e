"""held_connections.py HOST PORT COUNT ROUNDS - COUNT connections at once, all answered before one is closed

Prints "ROUNDS x COUNT at once".
"""

import contextlib
import socket
import sys


def main():
    host, port, count, rounds = sys.argv[1], *map(int, sys.argv[2:])
    for _ in range(rounds):
        with contextlib.ExitStack() as held:
            all_of_them = [held.enter_context(socket.create_connection((host, port))) for _ in range(count)]
            for number, connection in enumerate(all_of_them):
                connection.sendall(b"%d" % number)
            for number, connection in enumerate(all_of_them):
                if connection.recv(16) != b"%d" % number:
                    sys.exit(f"connection {number} was not answered")
    print(f"{rounds} x {count} at once")


main()
