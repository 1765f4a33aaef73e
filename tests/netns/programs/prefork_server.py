"""prefork_server.py PORT WORKERS - echoes; each worker accepts at the listener of its parent, one at a time"""

import os
import signal
import socket
import sys


def work(listener):
    while True:
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(65536):
                connection.sendall(data)


def main():
    port, workers = map(int, sys.argv[1:])
    listener = socket.create_server(("", port), backlog=64)
    children = []
    for _ in range(workers):
        child = os.fork()
        if child == 0:
            work(listener)
        children.append(child)

    def stop(*_):
        for child in children:
            os.kill(child, signal.SIGTERM)
        sys.exit(0)
    signal.signal(signal.SIGTERM, stop)
    while True:
        signal.pause()


main()
