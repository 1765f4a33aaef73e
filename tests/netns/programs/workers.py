"""workers.py - children that work until their parent is told to end, which ends them"""

import os
import signal
import sys


def run_workers(count, work):
    """work(number) runs in each; this does not return."""
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            work(number)
        children.append(child)

    def stop(*_):
        for child in children:
            os.kill(child, signal.SIGTERM)
        sys.exit(0)
    signal.signal(signal.SIGTERM, stop)
    while True:
        signal.pause()
