"""datagram_control.py server PORT | client PORT ADDRESS... - datagrams with control data, both ways

The server answers each question from the address it was sent to (IP_PKTINFO), and says what else its control
data told: the TTL, the TOS, whether there was a time stamp. The client sets both for one datagram alone, and
hears only the address that it has asked.
"""

import socket
import struct
import sys

ROUNDS = 20
# struct in_pktinfo of ip(7): the interface, the local address, the destination.
PKTINFO = struct.Struct("=I4s4s")
INT = struct.Struct("=i")
# Not in Debian 12's socket module.
SO_TIMESTAMPNS, IP_PKTINFO, IP_RECVTTL = 35, 8, 12
ROOM = 512


def serve(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for name in (IP_PKTINFO, socket.IP_RECVTOS, IP_RECVTTL):
            sock.setsockopt(socket.IPPROTO_IP, name, 1)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.bind(("", port))
        while True:
            question, control, _, sender = sock.recvmsg(ROOM, ROOM)
            told = {(level, kind): data for level, kind, data in control}
            _, _, asked = PKTINFO.unpack(told[socket.IPPROTO_IP, IP_PKTINFO])
            ttl, = INT.unpack(told[socket.IPPROTO_IP, socket.IP_TTL])
            tos = told[socket.IPPROTO_IP, socket.IP_TOS][0]
            stamp = "stamped" if (socket.SOL_SOCKET, SO_TIMESTAMPNS) in told else "not stamped"
            answer = f"{question.decode()} asked at {socket.inet_ntoa(asked)}, ttl {ttl}, tos {tos}, {stamp}"
            source = PKTINFO.pack(0, asked, bytes(4))
            sock.sendmsg([answer.encode()], [(socket.IPPROTO_IP, IP_PKTINFO, source)], 0, sender)


def ask(port, address):
    control = [(socket.IPPROTO_IP, socket.IP_TTL, INT.pack(17)),
               (socket.IPPROTO_IP, socket.IP_TOS, INT.pack(40))]
    answers = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        # Connected: an answer from another address would not be heard.
        sock.connect((address, port))
        for _ in range(ROUNDS):
            sock.sendmsg([address.encode(), b":"], control)
            answers.add(sock.recv(ROOM).decode())
    print("\n".join(answers))


if sys.argv[1] == "server":
    serve(int(sys.argv[2]))
else:
    for asked in sys.argv[3:]:
        ask(int(sys.argv[2]), asked)
