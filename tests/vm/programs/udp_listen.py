"""udp_listen.py PORT... - prints the port and the text of each datagram; ends after the text `end`"""

import selectors
import socket
import sys

with selectors.DefaultSelector() as selector:
    for port in sys.argv[1:]:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("0.0.0.0", int(port)))
        selector.register(sock, selectors.EVENT_READ, port)
    text = ""
    while text != "end":
        for key, _ in selector.select():
            text = key.fileobj.recv(1000).decode()
            print(key.data, text)
