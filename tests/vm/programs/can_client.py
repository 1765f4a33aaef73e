"""can_client.py HOST PORT LINES - sends lines to can_gateway.py, and awaits each as the bus gives it back

What answers on the bus repeats a frame's bytes under the number that is one higher.
"""

import socket
import sys

HOST, PORT, LINES = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

with socket.create_connection((HOST, PORT)) as sock, sock.makefile("r", encoding="ascii") as answers:
    for number in range(LINES):
        data = number.to_bytes(2, "big").hex() * (1 + number % 2 * 7)
        sock.sendall(f"100#{data}\n".encode())
        answer = answers.readline()
        if answer != f"101#{data}\n":
            raise AssertionError(f"line {number}: {answer!r} for {data}")
print("ok")
