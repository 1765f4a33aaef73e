"""report.py - the tables that `make bench` prints"""

import noise
import programs
from results import number
from sites import KERNEL, RAW

TITLES = {
    "tcp": "TCP, 64 bytes, one way (half a round trip), us",
    "udp": "UDP, 64 bytes, one way (half a round trip), us",
    "redis": "redis-benchmark, SET and GET, requests a second",
    "bulk": "Bulk TCP one way, MTU 1500, Gbit/s of payload",
    "accept": "A connection: opened, accepted, a byte there and back, closed, us",
    "move": "A connection that moves to the kernel and back, us for each",
    "cost": "What is added to a read or write of 64 bytes that the kernel serves, ns",
}
METRICS = {
    "tcp": [("p50_us", "p50"), ("p99_us", "p99"), ("p999_us", "p99.9")],
    "udp": [("p50_us", "p50"), ("p99_us", "p99"), ("p999_us", "p99.9")],
    "redis": [(load, load) for load in programs.REDIS_LOADS],
    "bulk": [("gbits", "Gbit/s")],
    "accept": [("p50_us", "p50"), ("p99_us", "p99"), ("p999_us", "p99.9")],
    "move": [("out_p50_us", "out p50"), ("out_p99_us", "out p99"), ("in_p50_us", "in p50"),
             ("in_p99_us", "in p99")],
    "cost": [("pipe_ns", "pipe"), ("unix_ns", "AF_UNIX"), ("loopback_ns", "loopback TCP")],
}
LEAST_IS_BEST = {"tcp": True, "udp": True, "redis": False, "bulk": False, "cost": True,
                 "accept": True, "move": True}


def table(rows):
    """Aligned text: the first two columns to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows if len(row) > i) for i in range(max(map(len, rows)))]
    for row in rows:
        cells = [cell.ljust(width) if i < 2 else cell.rjust(width)
                 for i, (cell, width) in enumerate(zip(row, widths))]
        yield "  ".join(cells).rstrip()


def proof(result):
    frames, size = result.frames()
    return f"{frames:,} / {size / 1e6:,.0f} MB" if result.case.setup.bypasses else ""


class Report:

    def __init__(self, results):
        self.results = results

    def lines(self):
        machine, options = self.results.machine, self.results.options
        yield (f"Underpass {machine['revision']}, Linux {machine['kernel']}, {machine['cpu']}, "
               f"{machine['cpus']} CPUs, {machine['when']}")
        yield (f"Medians of {options['rounds']} alternating rounds; in brackets the lowest and "
               "highest.")
        if options.get("run"):
            yield f"Programs under Underpass were run with {options['run']}."
        if self.results.noise() > noise.QUIET_SHARE:
            yield (f"Other programs took {self.results.noise():.0%} of the CPUs meanwhile "
                   "(median): the figures are worse for it.")
        for group in options["groups"]:
            yield from self.group(group)
        yield from self.targets()

    def group(self, group):
        rows = [["", "placement", *(title for _, title in METRICS[group]),
                 *self.comparison_titles(group), "through AF_XDP"]]
        notes = []
        for result in (one for one in self.results.results if one.case.group == group):
            if result.complaint:
                notes.append(f"  ! {result.case.label}, {result.case.placement}: "
                             f"{result.complaint}")
            if result.rounds:
                rows.append(self.row(result))
        yield from ("", TITLES[group], *table(rows), *notes)

    def row(self, result):
        case, metrics = result.case, result.metrics
        cells = [f"{number(one.median)} ({number(one.lowest)}-{number(one.highest)})"
                 for one in (metrics[name] for name, _ in METRICS[case.group])]
        return [case.label, case.placement, *cells, *self.comparisons(result), proof(result)]

    # Of the first metric of a latency or bulk group, of every load of redis.

    @staticmethod
    def comparison_titles(group):
        return {"tcp": ["x floor", "x kernel"], "udp": ["x floor", "x kernel"],
                "bulk": ["x raw", "x kernel"], "redis": ["x kernel"], "cost": [], "accept": [],
                "move": []}[group]

    def comparisons(self, result):
        """Times the raw figure, and how many times better than the kernel's better placement (of
        latencies: sleeping)."""
        group, least = result.case.group, LEAST_IS_BEST[result.case.group]
        if group in ("cost", "accept", "move"):
            return []
        def times(name, other, inverse):
            value = result.median(name)
            other_result = self.results.best(name, least, group, other, spin=False)
            best = other_result and other_result.median(name)
            if not best or result.case.setup is other and other is RAW:
                return "-"
            return f"{best / value if inverse else value / best:.2f}"
        if group == "redis":
            return [" ".join(times(name, KERNEL, False) for name, _ in METRICS[group])]
        name = METRICS[group][0][0]
        return [times(name, RAW, False), times(name, KERNEL, least)]

    def targets(self):
        rows = [["target (both ends under Underpass)", "wanted", "reached", "", ""]]
        for one in self.results.targets():
            verdict = ("not measured" if one.reached is None else "met" if one.met
                       else f"missed by {one.missed_by:.0%}")
            rows.append([one.what, f"{'<=' if one.at_most else '>='} {one.wanted:g}",
                         "-" if one.reached is None else f"{one.reached:.2f}", verdict, one.detail])
        if len(rows) > 1:
            yield from ("", *align_left(rows))


def align_left(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
