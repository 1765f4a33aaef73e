"""flood.py HOST PORT DATAGRAMS - sends that many datagrams from many ports and reads no answer"""

import socket
import sys

PORTS = 16
DATA = b"x" * 200


def main():
    host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(PORTS)]
    for turn in range(count):
        try:
            sockets[turn % PORTS].sendto(DATA, (host, port))
        except ConnectionRefusedError:  # the answer of a kernel whose program was killed
            pass
    print("sent")


main()
