"""attempt.py WHAT ARGS... - tries one thing and prints a line for each call: its result or its errno"""

import errno
import select
import socket
import struct
import sys
import threading
import time


def said(name, call, *arguments):
    """Prints what the call did; its value, or None if it failed."""
    try:
        value = call(*arguments)
    except OSError as error:
        print(f"{name}: {errno.errorcode.get(error.errno, error)}")
        return None
    print(f"{name}: {'ok' if value is None else value}")
    return value


def so_error(sock):
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return errno.errorcode.get(code, code)


def stream():
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def connect(host, port):
    """Blocking, twice: the second call meets a socket that has failed before."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        said("connect", sock.connect, (host, int(port)))
        said("SO_ERROR", so_error, sock)
        said("getpeername", sock.getpeername)
        said("send", sock.send, b"x", socket.MSG_NOSIGNAL)
        said("connect again", sock.connect, (host, int(port)))


def connect_nonblocking(host, port):
    with stream() as sock:
        sock.setblocking(False)
        said("connect", sock.connect, (host, int(port)))
        poll = select.poll()
        poll.register(sock, select.POLLIN | select.POLLOUT | select.POLLRDHUP)
        said("poll", lambda: hex(poll.poll()[0][1]))
        said("SO_ERROR", so_error, sock)
        said("SO_ERROR again", so_error, sock)
        said("poll again", lambda: [hex(events) for _, events in poll.poll(0)])
        said("send", sock.send, b"x", socket.MSG_NOSIGNAL)
        said("recv", sock.recv, 1)


def connect_epoll(host, port):
    """As an event loop does it: edge triggered, and SO_ERROR tells."""
    with stream() as sock, select.epoll() as epoll:
        sock.setblocking(False)
        said("connect", sock.connect, (host, int(port)))
        epoll.register(sock, select.EPOLLOUT | select.EPOLLIN | select.EPOLLET)
        said("epoll", lambda: hex(epoll.poll()[0][1]))
        said("SO_ERROR", so_error, sock)
        said("epoll again", lambda: [hex(events) for _, events in epoll.poll(0)])


def connect_impatient(host, port):
    """To a host that never answers, so SO_SNDTIMEO ends the wait (socket(7))."""
    with stream() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 300000))
        said("connect", sock.connect, (host, int(port)))
        said("connect again", sock.connect, (host, int(port)))


def connect_one_try(host, port):
    """As connect, but gives up after three seconds (tcp(7), TCP_SYNCNT). Ends when stdin does."""
    with stream() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
        said("connect", sock.connect, (host, int(port)))
        said("SO_ERROR", so_error, sock)
        sys.stdin.read()


def connect_unattended(host, port, beside):
    """Makes no further call; `thread`: another one sleeps in recv meanwhile."""
    if beside == "thread":
        idle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        idle.bind(("0.0.0.0", 0))
        threading.Thread(target=idle.recv, args=(1,), daemon=True).start()
    with stream() as sock:
        sock.bind(("0.0.0.0", 0))
        # So that whoever looks after the stack sleeps, and does not expect anything.
        time.sleep(1)
        sock.setblocking(False)
        said("connect", sock.connect, (host, int(port)))
        sys.stdin.read()


def udp_closed(host, port):
    """The ICMP error of the first datagram meets a later call (udp(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        said("connect", sock.connect, (host, int(port)))
        said("send", sock.send, b"x")
        said("recv", sock.recv, 10)
        said("SO_ERROR", so_error, sock)


def bind(address, port, kind="tcp"):
    sort = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[kind]
    with socket.socket(socket.AF_INET, sort) as sock:
        said("bind", sock.bind, (address, int(port)))
        if kind == "tcp":
            said("listen", sock.listen)


def bind_reusing(address, port):
    """SO_REUSEADDR does not help against a listener."""
    with stream() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        said("bind", sock.bind, (address, int(port)))
        said("listen", sock.listen)


def bind_twice(address, port):
    with stream() as first, stream() as second:
        said("first bind", first.bind, (address, int(port)))
        said("second bind", second.bind, (address, int(port)))
        said("first listen", first.listen)
        said("second listen", second.listen)
        said("first bind again", first.bind, (address, int(port)))


WHATS = {function.__name__: function for function in (
    connect, connect_nonblocking, connect_epoll, connect_impatient, connect_one_try, connect_unattended,
    udp_closed, bind, bind_reusing, bind_twice)}
WHATS[sys.argv[1]](*sys.argv[2:])
