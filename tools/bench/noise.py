"""noise.py - how much of the CPUs other programs took while something was measured

A measurement is chosen by how quiet it was, never by its result.
"""

import os
import time

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# A measurement during which others took more than this share of all CPUs is made again.
QUIET_SHARE = 0.05
TRIES = 3


def task_seconds():
    """CPU time of all programs since boot; interrupts, which nobody can help, are not in it."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system = map(int, file.readline().split()[1:4])
    return (user + nice + system) / TICKS_PER_S


def own_seconds():
    """CPU time of ours and of our children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class Noise:
    """The share of all CPUs that went to others since the start."""

    def __init__(self):
        self.at, self.tasks, self.own = time.monotonic(), task_seconds(), own_seconds()

    def share(self):
        others = task_seconds() - self.tasks - (own_seconds() - self.own)
        return max(0.0, others) / ((time.monotonic() - self.at) * os.cpu_count())


def quietest(measure, may_repeat):
    """measure()'s result from the quietest of a few tries, and how quiet that was. Tries end with
    the first quiet one, or when may_repeat() says that there is no time."""
    tries = []
    while True:
        noise = Noise()
        result = measure()
        tries.append((noise.share(), result))
        if tries[-1][0] <= QUIET_SHARE or len(tries) == TRIES or not may_repeat():
            share, result = min(tries, key=lambda one: one[0])
            return result, share
