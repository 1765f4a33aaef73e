"""sources.py PORT: prints the source of each datagram until one that says end"""
import socket
import sys

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", int(sys.argv[1])))
while True:
    data, (source, _) = server.recvfrom(100)
    if data == b"end":
        break
    print(source)
