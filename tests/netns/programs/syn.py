"""syn.py HOST PORT SOURCE - one SYN that claims to come from SOURCE, port 4000"""

import socket
import struct
import sys


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def main():
    host, port, source = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    addresses = socket.inet_aton(source) + socket.inet_aton(host)
    tcp = struct.pack("!HHIIBBHHH", 4000, port, 1000, 0, 5 << 4, 2, 65535, 0, 0)
    pseudo = addresses + struct.pack("!HH", socket.IPPROTO_TCP, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, socket.IPPROTO_TCP, 0) + addresses
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(ip + tcp, (host, 0))  # the kernel writes the header's checksum, raw(7)


main()
