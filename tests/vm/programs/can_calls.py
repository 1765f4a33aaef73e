"""can_calls.py IFACE - what Python's CAN_RAW sockets say, a line a call; the last says who was preloaded"""

import fcntl
import os
import select
import socket
import struct
import sys

FRAME = struct.Struct("=IB3x8s")
FD_FRAME = struct.Struct("=IBB2x64s")
FIONREAD = 0x541B
SIOCGIFINDEX = 0x8933
SO_TIMESTAMP = 29
IFACE = sys.argv[1]


def say(what, call):
    """The call's value, or its errno."""
    try:
        print(f"{what}: {call()}")
    except OSError as error:
        print(f"{what}: {error.strerror}")


def can_socket(bind=True):
    sock = socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW)
    sock.setblocking(False)
    if bind:
        sock.bind((IFACE,))
    return sock


def frame(number, data):
    return FRAME.pack(number, len(data), data)


def fd_frame(number, data):
    return FD_FRAME.pack(number, len(data), 0, data)


def address_and_options(a):
    say("name", a.getsockname)
    for option in (socket.SO_TYPE, socket.SO_DOMAIN, socket.SO_PROTOCOL, socket.SO_ERROR):
        say(f"SOL_SOCKET {option}", lambda option=option: a.getsockopt(socket.SOL_SOCKET, option))
    for option in (socket.CAN_RAW_LOOPBACK, socket.CAN_RAW_RECV_OWN_MSGS, socket.CAN_RAW_FD_FRAMES):
        say(f"SOL_CAN_RAW {option}", lambda option=option: a.getsockopt(socket.SOL_CAN_RAW, option))
    request = struct.pack("16s16x", IFACE.encode())
    say("SIOCGIFINDEX", lambda: fcntl.ioctl(a, SIOCGIFINDEX, request)[16:20].hex())
    say("bind to no interface", lambda: can_socket(False).bind(("nosuch0",)))
    say("listen", a.listen)
    say("peer", a.getpeername)


def frames(a, b):
    say("nothing to receive", lambda: b.recv(16))
    say("send", lambda: a.send(frame(0x123, b"\xde\xad\xbe\xef")))
    say("FIONREAD", lambda: fcntl.ioctl(b, FIONREAD, bytes(4)).hex())
    say("peek", lambda: b.recv(16, socket.MSG_PEEK).hex())
    say("receive", lambda: b.recv(16).hex())
    say("write", lambda: os.write(a.fileno(), frame(0x80000ABC, b"\x01")))
    say("read", lambda: os.read(b.fileno(), 16).hex())
    say("writev", lambda: os.writev(a.fileno(), [frame(0x7FF, b"12345678")[:8], b"12345678"]))
    say("readv", lambda: [os.readv(b.fileno(), parts := [bytearray(8), bytearray(8)]), parts])
    say("sendto", lambda: can_socket(False).sendto(frame(0x001, b""), (IFACE,)))
    say("recvfrom", lambda: [part if isinstance(part, tuple) else part.hex() for part in b.recvfrom(16)])
    say("short", lambda: a.send(b"12345"))
    say("own frames", lambda: a.recv(16))


def filters(a, b):
    b.setsockopt(socket.SOL_CAN_RAW, socket.CAN_RAW_FILTER, struct.pack("=II", 0x100, 0x7FF))
    say("filter", lambda: b.getsockopt(socket.SOL_CAN_RAW, socket.CAN_RAW_FILTER, 8).hex())
    for number in (0x101, 0x100, 0x102):
        a.send(frame(number, b"f"))
    say("what the filter lets through", lambda: b.recv(16).hex())
    say("and no other", lambda: b.recv(16))
    b.setsockopt(socket.SOL_CAN_RAW, socket.CAN_RAW_FILTER, struct.pack("=II", 0, 0))


def flexible_data_rate(a, b):
    say("CAN FD without the option", lambda: a.send(fd_frame(0x321, bytes(range(64)))))
    for sock in (a, b):
        sock.setsockopt(socket.SOL_CAN_RAW, socket.CAN_RAW_FD_FRAMES, 1)
    say("CAN FD", lambda: a.send(fd_frame(0x321, bytes(range(64)))))
    say("CAN FD received", lambda: b.recv(72).hex())
    say("and a plain frame", lambda: a.send(frame(0x322, b"plain")))
    say("plain received", lambda: b.recv(72).hex())


def control_data(a, b):
    b.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMP, 1)
    say("sendmsg", lambda: a.sendmsg([frame(0x55, b"stamped")]))
    data, control, flags, address = b.recvmsg(72, 256)
    print("recvmsg:", data.hex(), [(level, kind, len(stamp)) for level, kind, stamp in control],
          flags & ~socket.MSG_CMSG_CLOEXEC, address)
    seconds = struct.unpack("qq", control[0][2])[0]
    print("stamped:", seconds > 0)
    b.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMP, 0)


def readiness(a, b):
    poll = select.poll()
    poll.register(b, select.POLLIN | select.POLLOUT)
    epoll = select.epoll()
    epoll.register(b, select.EPOLLIN | select.EPOLLET)
    for what in ("empty", "full"):
        say(f"{what}: poll", lambda: [events for _, events in poll.poll(0)])
        say(f"{what}: epoll", lambda: [events for _, events in epoll.poll(0)])
        say(f"{what}: select", lambda: [len(ready) for ready in select.select([b], [b], [], 0)])
        a.send(frame(0x66, b"ready"))
    say("a copy receives", lambda: b.dup().recv(16).hex())
    epoll.close()


def main():
    a, b = can_socket(), can_socket()
    address_and_options(a)
    frames(a, b)
    filters(a, b)
    flexible_data_rate(a, b)
    control_data(a, b)
    readiness(a, b)
    say("shutdown", lambda: a.shutdown(socket.SHUT_RDWR))
    a.close()
    say("closed", lambda: a.send(b""))
    with open("/proc/self/maps", encoding="utf-8") as file:
        print("preloaded:", "libunderpass.so" in file.read())


main()
