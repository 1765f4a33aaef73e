"""results.py - the rounds of all cases: medians, targets, and the JSON that holds everything"""

import collections
import os
import platform
import statistics
import subprocess
import time
from typing import NamedTuple, Optional

from cases import Case
from sites import BOTH, CLASS, KERNEL, OWN_CORES, RAW, ROOT


class Summary(NamedTuple):
    """One metric of one case over all rounds."""

    median: float
    lowest: float
    highest: float
    rounds: list

    @classmethod
    def of(cls, values):
        return cls(statistics.median(values), min(values), max(values), list(values))


class Result:
    """One case: its rounds, and what went wrong in some."""

    def __init__(self, case: Case):
        self.case = case
        self.rounds = []
        self.errors = []
        self.noise = []  # the share of the CPUs that others took, of each round
        self.histogram = collections.Counter()

    def add(self, measured, noise=0.0):
        self.rounds.append(measured)
        self.noise.append(noise)
        for ns, count in measured.histogram:
            self.histogram[ns] += count

    @property
    def metrics(self):
        names = self.rounds[0].metrics if self.rounds else ()
        return {name: Summary.of([one.metrics[name] for one in self.rounds]) for name in names}

    def median(self, metric) -> Optional[float]:
        found = self.metrics.get(metric)
        return found and found.median

    def described(self, metric):
        return f"{number(self.median(metric))} ({self.case.placement})"

    @property
    def complaint(self):
        """Why this is not what it says: it failed, or it was not bypassed."""
        if not self.rounds:
            return f"failed: {self.errors[0]}" if self.errors else "not measured"
        if not self.case.setup.bypasses:
            return None
        return next((f"not bypassed: {one.counts.complaint}" for one in self.rounds
                     if one.counts.complaint), None)

    def frames(self):
        """Of all rounds, through AF_XDP: (frames, bytes)."""
        counted = [one.counts for one in self.rounds if one.counts]
        return sum(one.frames for one in counted), sum(one.bytes for one in counted)

    def as_json(self):
        case = self.case
        return {
            "group": case.group, "name": case.label, "setup": case.setup.name,
            "placement": case.placement, "spins": case.spin,
            "metrics": {name: summary._asdict() for name, summary in self.metrics.items()},
            "histogram_ns": sorted(self.histogram.items()),
            "proof": [one.counts.as_json() for one in self.rounds if one.counts],
            "server_counters": [one.client for one in self.rounds if one.client],
            "noise": self.noise, "complaint": self.complaint, "errors": self.errors,
        }


class Target(NamedTuple):
    """reached and wanted are in the same unit; `at_most` says which side is good."""

    what: str
    wanted: float
    reached: Optional[float]
    at_most: bool
    detail: str

    @property
    def met(self):
        return self.reached is not None and (
            self.reached <= self.wanted if self.at_most else self.reached >= self.wanted)

    @property
    def missed_by(self):
        """As a share of what was wanted; None when met or not measured."""
        if self.reached is None or self.met:
            return None
        return abs(self.reached - self.wanted) / self.wanted

    def as_json(self):
        return {"what": self.what, "wanted": self.wanted, "at_most": self.at_most,
                "reached": self.reached, "met": self.met, "missed_by": self.missed_by,
                "detail": self.detail}


class Results:
    """Everything that one run measured."""

    def __init__(self, cases, options):
        self.options = options
        self.results = [Result(case) for case in cases]
        self.machine = describe_machine()

    def of(self, group, setup, spin=None, placement=None):
        """The results of that description that can be relied on."""
        return [one for one in self.results
                if one.case.group == group and one.case.setup is setup and not one.complaint
                and spin in (None, one.case.spin) and placement in (None, one.case.placement)]

    def best(self, metric, least, *description, **more) -> Optional[Result]:
        """The result of the better placement; None when there is none."""
        found = self.of(*description, **more)
        return (min if least else max)(found, key=lambda one: one.median(metric), default=None)

    def targets(self):
        """What is asked for, as far as this run measured it."""
        groups = {one.case.group for one in self.results}
        if "tcp" in groups:
            yield from self.latency_targets()
        if "redis" in groups:
            for load, wanted in (("-c 1", 2.0), ("-c 50", 1.2), ("-c 50 -P 16", 1.2)):
                yield self.compared(f"redis-benchmark {load}: kernel's better placement, times",
                                    wanted, (load, False, "redis"), KERNEL)
        if "bulk" in groups:
            yield self.compared("bulk TCP: of raw AF_XDP, times", 0.7, ("gbits", False, "bulk"),
                                RAW)

        if "cost" in groups:
            yield self.cost_target()

    def cost_target(self):
        what = "read, write that the kernel serves: ns added"
        of = self.of("cost", BOTH)
        costs = {name: one.median for name, one in of[0].metrics.items()} if of else {}
        detail = ", ".join(f"{name.removesuffix('_ns')} {ns:.1f}" for name, ns in costs.items())
        return Target(what, 30.0, max(costs.values(), default=None), True, detail or "not measured")

    def latency_targets(self):
        metric = ("p50_us", True, "tcp")
        yield self.compared("TCP p50: of the raw floor, times", 1.5, metric, RAW, at_most=True)
        yield self.compared("TCP p50: better than the kernel sleeping, times", 2.0, metric, KERNEL,
                            spin=False)
        yield self.compared("TCP p50: better than the kernel spinning, times", 1.0, metric, KERNEL,
                            spin=True)
        # Issue 3: the Socket class is at least as fast as the preload.
        yield self.compared("TCP p50: the class, of the preloaded program, times", 1.0, metric, BOTH,
                            at_most=True, spin=False, ours=CLASS)

    def compared(self, what, wanted, metric, other, at_most=False, spin=None, ours=BOTH):
        """Underpass on both ends against another setup, each in its better placement; against raw
        AF_XDP in the placement of that. The program under Underpass does not spin by itself."""
        name, least, group = metric
        ours = self.best(name, least, group, ours, spin=False,
                         placement=OWN_CORES if other is RAW else None)
        theirs = self.best(name, least, group, other, spin=spin)
        if not ours or not theirs:
            return Target(what, wanted, None, at_most, "not measured")

        def ratio(our, their):
            return their / our if least and not at_most else our / their
        by_round = [ratio(our, their) for our, their in zip(ours.metrics[name].rounds,
                                                            theirs.metrics[name].rounds)]
        detail = (f"{ours.described(name)} against {theirs.described(name)}; by round "
                  f"{min(by_round):.2f}-{max(by_round):.2f}")
        return Target(what, wanted, ratio(ours.median(name), theirs.median(name)), at_most, detail)

    def noise(self):
        """The median, over everything measured, of what others took of the CPUs."""
        shares = [share for one in self.results for share in one.noise]
        return statistics.median(shares) if shares else 0.0

    def as_json(self):
        return {"machine": self.machine, "options": self.options,
                "targets": [one.as_json() for one in self.targets()],
                "cases": [one.as_json() for one in self.results]}


def number(value):
    """For people: three significant digits or whole thousands."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def describe_machine():
    revision = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    model = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {"when": time.strftime("%Y-%m-%d %H:%M:%S %z"), "revision": revision.stdout.strip(),
            "kernel": platform.release(), "cpu": model, "cpus": os.cpu_count()}
