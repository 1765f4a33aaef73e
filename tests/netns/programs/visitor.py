"""visitor.py HOST PORT - one connection after the other to an echo server, until SIGINT; each must be served. Prints "N visits"."""

import signal
import socket
import sys

ended = False


def end(*_):
    global ended
    ended = True


def main():
    signal.signal(signal.SIGINT, end)
    address, visits = (sys.argv[1], int(sys.argv[2])), 0
    while not ended:
        with socket.create_connection(address) as connection:
            word = f"visit {visits}".encode()
            connection.sendall(word)
            got = connection.recv(len(word), socket.MSG_WAITALL)
            if got != word:
                sys.exit(f"visit {visits}: {got}")
        visits += 1
    print(f"{visits} visits")


main()
