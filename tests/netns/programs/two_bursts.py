"""two_bursts.py ADDRESS PORT: sends a megabyte to an echo server and reads it back, waits for a line on
stdin, and does so once more over the same connection"""
import hashlib
import random
import socket
import sys
import threading

BYTES = 1_000_000


def burst(connection, data):
    sender = threading.Thread(target=connection.sendall, args=(data,))
    sender.start()
    digest, left = hashlib.sha256(), len(data)
    while left:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError(f"ended {left} bytes early")
        digest.update(piece)
        left -= len(piece)
    sender.join()
    assert digest.digest() == hashlib.sha256(data).digest()


def main():
    connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    data = random.Random(1).randbytes(BYTES)
    burst(connection, data)
    print("first")
    sys.stdin.readline()
    burst(connection, data)
    print("second", connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))


if __name__ == "__main__":
    main()
