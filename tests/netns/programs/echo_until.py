"""echo_until.py HOST PORT CONNECTIONS - that many connections at once, each of which wants back what it sends, until SIGINT

Then what is on its way is waited for. Prints "CONNECTIONS connections: N bytes right".
"""

import random
import signal
import socket
import sys
import threading

PIECE = 16384

ended = threading.Event()


def send(connection, number, ahead):
    source = random.Random(number)
    while not ended.is_set():
        ahead.acquire()
        connection.sendall(source.randbytes(PIECE))
    connection.shutdown(socket.SHUT_WR)


def run(number, address, counts, failures):
    expected = random.Random(number)
    ahead = threading.Semaphore(16)
    try:
        with socket.create_connection(address) as connection:
            sender = threading.Thread(target=send, args=(connection, number, ahead))
            sender.start()
            while piece := connection.recv(PIECE, socket.MSG_WAITALL):
                if piece != expected.randbytes(PIECE):
                    failures.append(f"connection {number}: other bytes after {counts[number]}")
                counts[number] += len(piece)
                ahead.release()
            sender.join()
    except OSError as error:
        failures.append(f"connection {number}: {error} after {counts[number]}")
        ahead.release(1 << 20)


def main():
    signal.signal(signal.SIGINT, lambda *_: ended.set())
    address, count = (sys.argv[1], int(sys.argv[2])), int(sys.argv[3])
    counts, failures = [0] * count, []
    threads = [threading.Thread(target=run, args=(number, address, counts, failures)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures or not all(counts):
        sys.exit("\n".join([*failures, str(counts)]))
    print(f"{count} connections: {sum(counts)} bytes right")


main()
