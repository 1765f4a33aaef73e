"""udp_send.py HOST PORT TEXT [PORT TEXT]... - one datagram after the other, from one socket"""

import socket
import sys

host, *rest = sys.argv[1:]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    for port, text in zip(rest[::2], rest[1::2]):
        sock.sendto(text.encode(), (host, int(port)))
