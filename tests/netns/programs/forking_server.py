"""forking_server.py PORT - echoes, in a process for each connection (socketserver.ForkingTCPServer)"""

import socketserver
import sys


class Echo(socketserver.BaseRequestHandler):

    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)


class Server(socketserver.ForkingTCPServer):
    allow_reuse_address = True
    request_queue_size = 64
    max_children = 100


with Server(("", int(sys.argv[1])), Echo) as server:
    server.serve_forever()
