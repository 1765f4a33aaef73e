"""can_gateway.py PORT IFACE - one epoll set with a CAN socket, a TCP listener and its connections

A line "100#0a0b" from a connection goes onto the bus as a frame, a frame from the bus to every connection
as a line. Frames with more than 8 bytes are CAN FD.
"""

import select
import socket
import struct
import sys

FRAME = struct.Struct("=IB3x8s")
FD_FRAME = struct.Struct("=IBB2x64s")


def frame_of(line):
    number, data = line.split("#")
    data = bytes.fromhex(data)
    if len(data) > 8:
        return FD_FRAME.pack(int(number, 16), len(data), 0, data)
    return FRAME.pack(int(number, 16), len(data), data)


def line_of(frame):
    number, length = struct.unpack_from("=IB", frame)
    return f"{number:x}#{frame[8:8 + length].hex()}\n".encode()


class Gateway:

    def __init__(self, port, iface):
        self.bus = socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW)
        self.bus.setsockopt(socket.SOL_CAN_RAW, socket.CAN_RAW_FD_FRAMES, 1)
        self.bus.bind((iface,))
        self.listener = socket.create_server(("0.0.0.0", port))
        self.connections = {}
        self.unread = {}
        self.epoll = select.epoll()
        for sock in (self.bus, self.listener):
            sock.setblocking(False)
            self.epoll.register(sock, select.EPOLLIN)

    def serve(self):
        while True:
            for fd, _ in self.epoll.poll():
                if fd == self.bus.fileno():
                    self.from_bus()
                elif fd == self.listener.fileno():
                    self.accept()
                else:
                    self.from_connection(fd)

    def accept(self):
        connection, _ = self.listener.accept()
        self.connections[connection.fileno()] = connection
        self.unread[connection.fileno()] = b""
        self.epoll.register(connection, select.EPOLLIN)

    def from_bus(self):
        line = line_of(self.bus.recv(FD_FRAME.size))
        for connection in self.connections.values():
            connection.sendall(line)

    def from_connection(self, fd):
        data = self.connections[fd].recv(4096)
        if not data:
            self.epoll.unregister(fd)
            self.connections.pop(fd).close()
            return
        *lines, self.unread[fd] = (self.unread[fd] + data).split(b"\n")
        for line in lines:
            self.bus.send(frame_of(line.decode()))


Gateway(int(sys.argv[1]), sys.argv[2]).serve()
