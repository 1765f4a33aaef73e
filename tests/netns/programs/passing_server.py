"""passing_server.py PORT - accepts, and passes each connection to a worker, which echoes (SCM_RIGHTS)

A word first: the acceptor reads the line that chooses the worker, so that the connection moves with bytes read
and unread.
"""

import os
import socket
import sys

WORKERS = 2


def work(line):
    while True:
        _, fds, _, _ = socket.recv_fds(line, 1, 1)
        if not fds:
            return
        with socket.socket(fileno=fds[0]) as connection:
            while data := connection.recv(65536):
                connection.sendall(data)


def start_worker():
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        work(theirs)
        os._exit(0)
    theirs.close()
    return ours


def main():
    lines = [start_worker() for _ in range(WORKERS)]
    with socket.create_server(("", int(sys.argv[1])), backlog=64) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                number = int(connection.recv(1))
                socket.send_fds(lines[number], [b"!"], [connection.fileno()])


main()
