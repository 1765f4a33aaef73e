"""echo_steps.py HOST PORT COUNT - one connection; a message every tenth of a second wants to come back. Prints "COUNT right"."""

import os
import socket
import sys
import time


def main():
    host, port, count = sys.argv[1], *map(int, sys.argv[2:])
    with socket.create_connection((host, port)) as connection:
        for _ in range(count):
            message = os.urandom(3000)
            connection.sendall(message)
            got = connection.recv(len(message), socket.MSG_WAITALL)
            if got != message:
                sys.exit(f"{len(got)} bytes came back, or others")
            time.sleep(0.1)
    print(f"{count} right")


main()
