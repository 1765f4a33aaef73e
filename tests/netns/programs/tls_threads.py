"""tls_threads.py server PORT CERTIFICATE KEY | client PORT CERTIFICATE ADDRESS - TLS with a thread each

The server answers a line of text and a length with the SHA-256 of what follows; each connection has a thread
of its own. The client has several threads, too, and checks every answer.
"""

import hashlib
import random
import socket
import socketserver
import ssl
import sys
import threading

THREADS = 6
CONNECTIONS = 4
SIZES_BYTES = [0, 1, 1400, 16384, 70000]


class Answer(socketserver.StreamRequestHandler):

    def handle(self):
        for line in self.rfile:
            data = self.rfile.read(int(line))
            self.wfile.write(hashlib.sha256(data).hexdigest().encode() + b"\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address, context):
        super().__init__(address, Answer)
        self.context = context

    def get_request(self):
        connection, sender = super().get_request()
        # The handshake is the thread's work.
        return self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), sender


def serve(port, certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Server(("", port), context) as server:
        server.serve_forever()


def ask(address, context, number, answers):
    source = random.Random(number)
    for _ in range(CONNECTIONS):
        with socket.create_connection(address) as plain, context.wrap_socket(plain) as connection:
            with connection.makefile("rwb") as stream:
                for size in SIZES_BYTES:
                    data = source.randbytes(size)
                    stream.write(b"%d\n" % size + data)
                    stream.flush()
                    if stream.readline() != hashlib.sha256(data).hexdigest().encode() + b"\n":
                        return
                    answers.append(size)


def main():
    role, port, certificate, last = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    if role == "server":
        return serve(port, certificate, last)
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    answers = []
    threads = [threading.Thread(target=ask, args=[(last, port), context, number, answers])
               for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{len(answers)} answers ok")
    return 0


sys.exit(main())
