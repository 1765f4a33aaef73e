"""witness.py HOST PORT IDLE BUSY - how connections to an echo server end

Opens IDLE connections that say one word and are silent then, and BUSY ones that go on sending; prints
"connected" when all have had an answer. Prints "N reset, M closed" when all have ended, whenever that is, and
"heard at T1 ... Tn", the times by CLOCK_MONOTONIC in order.
"""

import selectors
import socket
import sys
import time

WORD = b"x" * 1000


def open_one(address):
    sock = socket.create_connection(address)
    sock.sendall(WORD)
    left = len(WORD)
    while left:
        left -= len(sock.recv(left))
    sock.setblocking(False)
    return sock


def turn(sock, busy):
    """One round of a connection; "reset" or "closed" when it has ended, else None."""
    try:
        data = sock.recv(65536)
        if not data:
            return "closed"
        if busy:
            sock.send(data)
    except BlockingIOError:
        pass
    except ConnectionResetError:
        return "reset"
    except BrokenPipeError:
        return "reset"
    return None


def main():
    address, idle, busy = (sys.argv[1], int(sys.argv[2])), int(sys.argv[3]), int(sys.argv[4])
    ended, times = {"reset": 0, "closed": 0}, []
    with selectors.DefaultSelector() as selector:
        for number in range(idle + busy):
            selector.register(open_one(address), selectors.EVENT_READ, number >= idle)
        print("connected", flush=True)
        for key in list(selector.get_map().values()):
            if key.data:
                key.fileobj.send(WORD)
        while selector.get_map():
            for key, _ in selector.select():
                how = turn(key.fileobj, key.data)
                if how:
                    ended[how] += 1
                    times.append(time.monotonic())
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
    print(f"{ended['reset']} reset, {ended['closed']} closed", flush=True)
    print("heard at", *times, flush=True)


main()
