"""echo_client.py tcp|udp HOST PORT [CONNECTIONS [BYTES]] - checks that each byte comes back

TCP: all connections at once, each half-closed by us after its last byte and then by the server. UDP: datagrams
of many sizes, each awaited. Prints the peer's address as the socket has it, and "ok"; ends when its standard
input does.
"""

import random
import selectors
import socket
import sys

CHUNK_BYTES = 30000
DATAGRAM_SIZES_BYTES = [0, 1, 2, 63, 64, 500, 1400]
LONGEST_BYTES = {socket.AF_INET: 1472, socket.AF_INET6: 1452}
DATAGRAM_LIMIT_S = 30


class Stream:
    """One connection with its own bytes."""

    def __init__(self, address, number, total_bytes):
        self.wanted = random.Random(number).randbytes(total_bytes)
        self.sent = self.received = 0
        self.sock = socket.create_connection(address)
        self.sock.setblocking(False)

    def handle(self, events):
        if events & selectors.EVENT_READ:
            self.read()
        if events & selectors.EVENT_WRITE and self.sent < len(self.wanted):
            self.write()

    def read(self):
        data = self.sock.recv(CHUNK_BYTES)
        if data != self.wanted[self.received:self.received + len(data)]:
            raise AssertionError(f"other bytes at {self.received}")
        self.received += len(data)
        if not data and self.received < len(self.wanted):
            raise AssertionError(f"ended after {self.received} of {len(self.wanted)}")
        if not data:
            self.sock.close()

    def write(self):
        self.sent += self.sock.send(self.wanted[self.sent:self.sent + CHUNK_BYTES])
        if self.sent == len(self.wanted):
            self.sock.shutdown(socket.SHUT_WR)

    def events(self):
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self.sent < len(self.wanted) else 0)


def tcp(address, connections, total_bytes):
    streams = [Stream(address, number, total_bytes) for number in range(connections)]
    print("peers", {stream.sock.getpeername() for stream in streams})
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream.sock, stream.events(), stream)
        while selector.get_map():
            for key, events in selector.select():
                stream = key.data
                stream.handle(events)
                if stream.sock.fileno() < 0:
                    selector.unregister(key.fd)
                else:
                    selector.modify(stream.sock, stream.events(), stream)


def udp(named, rounds):
    family, kind, _, _, address = socket.getaddrinfo(*named, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as sock:
        sock.settimeout(DATAGRAM_LIMIT_S)
        for turn in range(rounds):
            for size in [*DATAGRAM_SIZES_BYTES, LONGEST_BYTES[family]]:
                data = random.Random(turn).randbytes(size)
                sock.sendto(data, address)
                got, peer = sock.recvfrom(65536)
                if (got, peer) != (data, address):
                    raise AssertionError(f"{len(got)} bytes of {peer} for {size} sent to {address}")
    print("peers", {address})


def main():
    protocol, host, port, *more = sys.argv[1:]
    count, total_bytes = int(more[0]) if more else 1, int(more[1]) if more[1:] else 100000
    if protocol == "udp":
        udp((host, int(port)), count)
    else:
        tcp((host, int(port)), count, total_bytes)
    print("ok")
    sys.stdin.read()


main()
