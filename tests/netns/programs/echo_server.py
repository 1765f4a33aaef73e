"""echo_server.py poll|select|epoll|udp PORT [ADDRESS] - sends back what comes

TCP on one of the selectors of Python's standard library, each a different system call; or UDP, blocking.
"::" is both families, another IPv6 address its own alone.
"""

import selectors
import socket
import sys

SELECTORS = {"poll": selectors.PollSelector, "select": selectors.SelectSelector,
             "epoll": selectors.EpollSelector}
CHUNK_BYTES = 65536


class Connection:
    """What was received and not yet sent back. Reads only while little is unsent."""

    LIMIT_BYTES = 1 << 20

    def __init__(self, sock, selector):
        self.sock, self.selector = sock, selector
        self.unsent = bytearray()
        self.ended = False
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ, self)

    def handle(self, events):
        try:
            if events & selectors.EVENT_READ:
                self.read()
            if self.unsent:
                self.write()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            print("connection:", error)
            self.unsent.clear()
            self.ended = True
        self.go_on()

    def read(self):
        data = self.sock.recv(CHUNK_BYTES)
        self.unsent += data
        self.ended = not data

    def write(self):
        del self.unsent[:self.sock.send(self.unsent)]

    def go_on(self):
        if self.ended and not self.unsent:
            self.selector.unregister(self.sock)
            self.sock.close()
            return
        events = selectors.EVENT_WRITE if self.unsent else 0
        if not self.ended and len(self.unsent) < self.LIMIT_BYTES:
            events |= selectors.EVENT_READ
        self.selector.modify(self.sock, events, self)


def family_of(address):
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


def serve_tcp(make_selector, address):
    listener = socket.create_server(address, family=family_of(address), backlog=512,
                                    dualstack_ipv6=address[0] == "::")
    listener.setblocking(False)
    with make_selector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, events in selector.select():
                if key.data:
                    key.data.handle(events)
                else:
                    Connection(listener.accept()[0], selector)


def serve_udp(address):
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as sock:
        sock.bind(address)
        while True:
            data, peer = sock.recvfrom(CHUNK_BYTES)
            sock.sendto(data, peer)


def main():
    kind, port = sys.argv[1:3]
    address = (sys.argv[3] if len(sys.argv) > 3 else "0.0.0.0", int(port))
    if kind == "udp":
        serve_udp(address)
    serve_tcp(SELECTORS[kind], address)


main()
