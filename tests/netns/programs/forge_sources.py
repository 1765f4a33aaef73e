"""forge_sources.py IFACE MAC ADDRESS PORT SOURCE...: a datagram to ADDRESS from each SOURCE, as frames to
MAC; the last SOURCE's says end"""
import socket
import struct
import sys

ETH_P_IP = 0x0800


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def datagram(source, address, port, text):
    """UDP without a checksum (RFC 768 has 0 for none)."""
    udp = struct.pack("!4H", 1234, port, 8 + len(text), 0) + text
    addresses = socket.inet_aton(source) + socket.inet_aton(address)
    start = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP)
    return start + struct.pack("!H", checksum(start + b"\0\0" + addresses)) + addresses + udp


def main():
    iface, mac, address, port, *sources = sys.argv[1:]
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
    to = (iface, ETH_P_IP, 0, 0, bytes.fromhex(mac.replace(":", "")))
    for source in sources:
        text = b"end" if source is sources[-1] else b"data"
        raw.sendto(datagram(source, address, int(port), text), to)


if __name__ == "__main__":
    main()
