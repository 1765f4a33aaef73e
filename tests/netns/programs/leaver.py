"""leaver.py HOST PORT BYTES HOW [open|line] - sends and leaves at once

HOW is the libc function that ends the process with status 7: exit, _exit, _Exit or quick_exit. The connection
is closed before, or with "open" left to the end of the process. Nothing waits for the bytes to arrive. With "line" it says "sent" and waits for a line before
it leaves.
"""

import ctypes
import socket
import sys

STATUS = 7


def main():
    host, port, count, how = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    leave = getattr(ctypes.CDLL(None), how)
    sock = socket.create_connection((host, port))
    sock.sendall(bytes(i % 251 for i in range(count)))
    if "line" in sys.argv:
        print("sent", flush=True)
        sys.stdin.readline()
    elif "open" not in sys.argv:
        sock.close()
    leave(STATUS)


main()
