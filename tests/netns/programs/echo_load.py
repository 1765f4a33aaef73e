"""echo_load.py HOST PORT CONNECTIONS BYTES [PREFIX] - that many connections at once; each wants back what it sends

PREFIX goes before the bytes and does not come back; of several characters each connection takes one. Prints
"CONNECTIONS x BYTES right".
"""

import hashlib
import random
import socket
import sys
import threading


def run(number, host, port, size, prefix, failures):
    data = random.Random(number).randbytes(size)
    with socket.create_connection((host, port)) as connection:
        if prefix:
            connection.sendall(prefix[number % len(prefix)].encode())
        sender = threading.Thread(target=lambda: (connection.sendall(data),
                                                  connection.shutdown(socket.SHUT_WR)))
        sender.start()
        got = hashlib.sha256()
        count = 0
        while piece := connection.recv(65536):
            got.update(piece)
            count += len(piece)
        sender.join()
    if got.digest() != hashlib.sha256(data).digest():
        failures.append(f"connection {number}: {count} of {size} bytes, or others")


def main():
    host, port, count, size = sys.argv[1], *map(int, sys.argv[2:5])
    prefix = sys.argv[5] if len(sys.argv) > 5 else ""
    failures = []
    threads = [threading.Thread(target=run, args=(number, host, port, size, prefix, failures))
               for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        sys.exit("\n".join(failures))
    print(f"{count} x {size} right")


main()
