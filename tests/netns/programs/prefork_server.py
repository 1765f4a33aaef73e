"""prefork_server.py PORT WORKERS - echoes; each worker accepts at the listener of its parent, one at a time"""

import socket
import sys

from workers import run_workers


def work(listener):
    while True:
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(65536):
                connection.sendall(data)


def main():
    port, workers = map(int, sys.argv[1:])
    listener = socket.create_server(("", port), backlog=64)
    run_workers(workers, lambda _: work(listener))


main()
