"""activated.py - echoes on the listener that it was started with (sd_listen_fds(3)), a thread for each connection"""

import os
import socket
import threading

FIRST = 3


def echo(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


def main():
    if os.environ.get("LISTEN_FDS") != "1":
        raise SystemExit("activated: not started with one listener")
    with socket.socket(fileno=FIRST) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=echo, args=(connection,), daemon=True).start()


main()
