"""reuseport_server.py tcp|udp PORT WORKERS - echoes; each worker has a socket of its own with SO_REUSEPORT

A datagram comes back behind the number of the worker.
"""

import socket
import sys
import threading

from workers import run_workers


def echo(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


def work(protocol, port, number):
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        own.bind(("", port))
        if protocol == "tcp":
            own.listen(64)
            while True:
                threading.Thread(target=echo, args=(own.accept()[0],)).start()
        while True:
            data, peer = own.recvfrom(65536)
            own.sendto(b"%d " % number + data, peer)


def main():
    protocol, port, workers = sys.argv[1], *map(int, sys.argv[2:])
    run_workers(workers, lambda number: work(protocol, port, number))


main()
