"""sink.py PORT PIECE PAUSE_MS - takes one connection's bytes slowly, and says how it ended

Prints "N right, then EOF" (or the error's name). After a line on stdin: what SO_ERROR says then.
"""

import errno
import socket
import sys
import time


def receive(sock, piece, pause_s):
    data = bytearray()
    while True:
        time.sleep(pause_s)
        try:
            got = sock.recv(piece)
        except OSError as error:
            return data, errno.errorcode[error.errno]
        if not got:
            return data, "EOF"
        data += got


def main():
    port, piece, pause_s = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) / 1000
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # So that most of what is sent waits at the sender.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * piece)
        listener.bind(("", port))
        listener.listen()
        sock = listener.accept()[0]
    with sock:
        data, end = receive(sock, piece, pause_s)
        right = data == bytes(i % 251 for i in range(len(data)))
        print(f"{len(data)} {'right' if right else 'wrong'}, then {end}", flush=True)
        sys.stdin.readline()
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        print(f"SO_ERROR {errno.errorcode.get(code, code)}", flush=True)


main()
