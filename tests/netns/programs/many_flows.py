"""many_flows.py HOST PORT COUNT - a datagram from each of COUNT sockets, twice; prints how many workers answered

Each socket must get both its answers from the same one.
"""

import socket
import sys


def main():
    host, port, count = sys.argv[1], *map(int, sys.argv[2:])
    workers = set()
    for number in range(count):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.settimeout(20)
            own.connect((host, port))
            answers = []
            for _ in range(2):
                own.send(b"%d" % number)
                worker, data = own.recv(64).split()
                assert int(data) == number
                answers.append(worker)
            if answers[0] != answers[1]:
                sys.exit(f"socket {number} was answered by {answers}")
            workers.add(answers[0])
    print(f"{len(workers)} answered")


main()
