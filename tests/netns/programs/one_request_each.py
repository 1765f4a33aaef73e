"""one_request_each.py HOST PORT - HTTP requests one after the other, by two threads, each over a new connection

Prints "100 right" after each hundred; ends with SIGTERM, or with the first request that fails.
"""

import http.client
import signal
import sys
import threading

stopped = threading.Event()
failures = []


def ask(host, port):
    connection = http.client.HTTPConnection(host, port, timeout=30)
    connection.request("GET", "/", headers={"Connection": "close"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200 or not body:
        raise ValueError(f"status {answer.status}, {len(body)} bytes")


def run(host, port):
    count = 0
    while not stopped.is_set():
        try:
            ask(host, port)
        except (OSError, ValueError, http.client.HTTPException) as error:
            failures.append(f"request {count}: {error!r}")
            stopped.set()
        count += 1
        if count % 100 == 0:
            print("100 right", flush=True)


def main():
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    threads = [threading.Thread(target=run, args=(sys.argv[1], int(sys.argv[2]))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.exit("\n".join(failures) if failures else 0)


main()
