"""memcached_client.py HOST PORT - many connections from several threads; checks every answer"""

import random
import socket
import sys
import threading

THREADS = 4
CONNECTIONS = 8  # per thread
ROUNDS = 6
SIZES_BYTES = [1, 100, 1400, 1461, 20000, 300000]


def expect(stream, wanted):
    line = stream.readline()
    if line != wanted:
        raise AssertionError(f"got {line!r}, not {wanted!r}")


def store_and_fetch(stream, key, value):
    stream.write(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value))
    stream.flush()
    expect(stream, b"STORED\r\n")
    stream.write(b"get %s\r\n" % key)
    stream.flush()
    expect(stream, b"VALUE %s 0 %d\r\n" % (key, len(value)))
    if stream.read(len(value)) != value:
        raise AssertionError(f"{key} has another value")
    expect(stream, b"\r\n")
    expect(stream, b"END\r\n")


def work(address, number):
    source = random.Random(number)
    streams = [socket.create_connection(address).makefile("rwb") for _ in range(CONNECTIONS)]
    for turn in range(ROUNDS):
        for index, stream in enumerate(streams):
            key = b"key-%d-%d" % (number, index)
            store_and_fetch(stream, key, source.randbytes(SIZES_BYTES[turn]))
    for stream in streams:
        stream.write(b"quit\r\n")
        stream.flush()
        expect(stream, b"")
        stream.close()


def main():
    address = (sys.argv[1], int(sys.argv[2]))
    failures = []

    def guarded(number):
        try:
            work(address, number)
        except Exception as failure:
            failures.append(f"thread {number}: {failure!r}")
    threads = [threading.Thread(target=guarded, args=[number]) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("\n".join(failures) or f"{THREADS * CONNECTIONS * ROUNDS} values ok")
    return 1 if failures else 0


sys.exit(main())
