"""cases.py - what `make bench` measures, and how one case of one round is measured

A case is one row of the report. Measuring one returns its metrics as {name: number}; of latencies
also the histogram; of Underpass cases also the counts that prove the bypass.
"""

import contextlib
import json
from typing import NamedTuple, Optional

import lab
import programs
from sites import (BOTH, CLASS, CLIENT_ONLY, HANG_S, KERNEL, KERNEL_PLAIN, ONE_CORE, OWN_CORES, RAW, SERVER_ONLY,
                   Counts, Setup)

GROUPS = ("tcp", "udp", "redis", "bulk", "cost", "accept", "move")
# That a program has when it leaves bypass.
CONNECTIONS = (1, 64)
# Processes that accept at one listener.
MEMBERS = (1, 4)
MESSAGE_BYTES = 64
# What a full TCP segment with timestamps carries in a 1514-byte frame (MTU 1500).
SEGMENT_BYTES = 1448


class Case(NamedTuple):
    group: str
    kind: str  # how it is measured: a key of MEASURES
    label: str
    setup: Setup
    placement: str
    spin: bool = False
    members: int = 1

    @property
    def name(self):
        return f"{self.group}: {self.label}, {self.placement}"


class Measured(NamedTuple):
    metrics: dict
    counts: Optional[object] = None  # sites.Counts, of Underpass cases
    histogram: tuple = ()            # (ns one way, count)
    client: Optional[dict] = None    # counters of the bypassed server program


def label_of(setup, spin):
    if setup is KERNEL:
        return "kernel, spinning" if spin else "kernel, sleeping"
    return f"{setup.name}, program spins" if spin else setup.name


def latency_cases(group):
    yield Case(group, "raw_ping_pong", "raw AF_XDP, spinning (the floor)", RAW, OWN_CORES)
    for setup, placement, spin in [
            (KERNEL, ONE_CORE, False), (KERNEL, OWN_CORES, False), (KERNEL, OWN_CORES, True),
            (BOTH, ONE_CORE, False), (BOTH, OWN_CORES, False), (BOTH, OWN_CORES, True),
            (CLASS, ONE_CORE, False), (CLASS, OWN_CORES, False),
            (SERVER_ONLY, ONE_CORE, False), (SERVER_ONLY, OWN_CORES, False),
            (CLIENT_ONLY, ONE_CORE, False), (CLIENT_ONLY, OWN_CORES, False)]:
        yield Case(group, "ping_pong", label_of(setup, spin), setup, placement, spin)


def redis_cases():
    for setup in (KERNEL, BOTH, SERVER_ONLY):
        for placement in (ONE_CORE, OWN_CORES):
            yield Case("redis", "redis", setup.name, setup, placement)


def bulk_cases():
    yield Case("bulk", "raw_stream", "raw AF_XDP, frames only (the ceiling)", RAW, OWN_CORES)
    for setup in (KERNEL, KERNEL_PLAIN, BOTH, SERVER_ONLY, CLIENT_ONLY):
        for placement in (ONE_CORE, OWN_CORES):
            yield Case("bulk", "stream", setup.name, setup, placement)


def cost_cases():
    for setup in (KERNEL, BOTH):
        yield Case("cost", "call_cost", setup.name, setup, OWN_CORES)


def accept_cases():
    for setup in (KERNEL, BOTH, SERVER_ONLY):
        for members in MEMBERS:
            yield Case("accept", "accept", f"{setup.name}, {members} to accept", setup, OWN_CORES,
                       members=members)


def move_cases():
    for connections in CONNECTIONS:
        yield Case("move", "move", f"Underpass, {connections} at a time", SERVER_ONLY, OWN_CORES,
                   members=connections)


def all_cases(groups):
    """In the order of the report."""
    for group in groups:
        if group in ("tcp", "udp"):
            yield from latency_cases(group)
        else:
            yield from {"redis": redis_cases, "bulk": bulk_cases, "cost": cost_cases,
                        "accept": accept_cases, "move": move_cases}[group]()


# Measuring

@contextlib.contextmanager
def raw_program(site, index, argv):
    """raw_xdp on one host, from when it receives."""
    with site.background(index, [programs.own("raw_xdp"), *argv], stop=False) as process:
        def is_ready():
            if not process.alive():
                raise lab.LabError(process.describe())
            return "ready" in process.log()
        lab.wait_until(is_ready, "raw_xdp to be ready")
        yield process


def of_ping_pong(answer, **more):
    if answer["lost"]:
        raise lab.LabError(f"{answer['lost']} messages were lost")
    metrics = {f"{name}_us": answer[f"{name}_ns"] / 1000 for name in ("p50", "p99", "p999")}
    return Measured(metrics, histogram=tuple(map(tuple, answer["histogram"])), **more)


def raw_ping_pong(site, _, seconds):
    iface = f"--iface={site.server.iface}"
    with raw_program(site, 1, ["pong", iface]):
        done = site.call([programs.own("raw_xdp"), "ping", iface, f"--seconds={seconds}"])
    return of_ping_pong(json.loads(done.out))


def ping_pong(site, case, seconds):
    port = site.lab.new_port()
    more = [f"--port={port}", f"--bytes={MESSAGE_BYTES}", *(["--spin"] if case.spin else [])]
    program = programs.own("ping_pong")
    if not site.setup.preload:
        program = programs.own("class_ping_pong")
        more.append(f"--iface={site.server.iface}")
    with site.serve([program, "server", case.group, *more], port, case.group, stop=False) as server:
        watch = site.watch()
        done = site.call([program, "client", case.group, f"--address={site.server.address}",
                          f"--seconds={seconds}", *more])
        counts = watch.finish()
        client = site.server.client(server) if site.setup.server else None
    return of_ping_pong(json.loads(done.out), counts=counts, client=client)


def redis(site, _, seconds):
    port, server = programs.serve_redis(site)
    metrics, all_counts = {}, []
    with server as process:
        for load in programs.REDIS_LOADS:
            metrics[load], counts = programs.redis_load(site, port, load, seconds)
            all_counts.append(counts)
        client = site.server.client(process) if site.setup.server else None
    total = all_counts[0]._replace(
        frames=sum(one.frames for one in all_counts), bytes=sum(one.bytes for one in all_counts),
        complaint=next(filter(None, (one.complaint for one in all_counts)), None))
    return Measured(metrics, total, client=client)


def raw_stream(site, _, seconds):
    iface = f"--iface={site.server.iface}"
    with raw_program(site, 1, ["sink", iface, f"--seconds={seconds}"]) as sink:
        with site.background(0, [programs.own("raw_xdp"), "source", iface], stop=False):
            sink.wait()
        answer = json.loads(sink.log().replace("ready", ""))
    rate = answer["frames"] / answer["seconds"]
    return Measured({"gbits": rate * SEGMENT_BYTES * 8 / 1e9, "frames_per_s": rate})


def stream(site, _, seconds):
    port = site.lab.new_port()
    program = programs.own("stream")
    more = [f"--port={port}", f"--seconds={seconds}"]
    with site.serve([program, "server", *more], port, stop=False) as server:
        watch = site.watch()
        site.call([program, "client", f"--address={site.server.address}", *more])
        server.wait()
        counts = watch.finish()
        answer = json.loads(server.log())
    return Measured({"gbits": answer["bytes"] * 8 / answer["seconds"] / 1e9}, counts)


def call_cost(site, _, seconds):
    """One program, and nothing on the wire: that its calls are interposed is all that proves it."""
    answer = json.loads(site.call([programs.own("call_cost"), f"--seconds={seconds}"]).out)
    wanted = site.preloaded(0)
    complaint = None if answer.pop("interposed") == wanted else "the calls are not the library's"
    return Measured({f"{kind}_ns": one["added"] for kind, one in answer.items()},
                    Counts(0, 0, complaint))


def accept(site, case, seconds):
    port = site.lab.new_port()
    program = programs.own("accept")
    with site.serve([program, "server", f"--port={port}", f"--members={case.members}"], port, stop=False):
        watch = site.watch()
        done = site.call([program, "client", f"--address={site.server.address}", f"--port={port}",
                          f"--seconds={seconds}"])
        counts = watch.finish()
    return of_ping_pong(json.loads(done.out), counts=counts)


def move(site, case, seconds):
    """A program leaves bypass and comes back, with connections whose other end is on the kernel."""
    port = site.lab.new_port()
    program, count = programs.own("move"), f"--connections={case.members}"
    with site.serve([program, "server", f"--port={port}"], port, stop=False) as server:
        with site.background(0, [program, "client", f"--address={site.server.address}", f"--port={port}", count],
                             stop=False) as client:
            lab.wait_until(lambda: "connected" in client.log() or not client.alive(), "the connections")
            before = site.server.client(server)
            done = site.server.run([program, "drive", f"--iface={site.server.iface}", f"--pid={server.pid}", count,
                                    f"--seconds={seconds}"], cpus=site.cpus[0], limit_s=HANG_S)
            after = site.server.client(server)
    metrics = {}
    for way, line in zip(("out", "in"), done.out.splitlines(), strict=True):
        answer = json.loads(line)
        metrics.update({f"{way}_{name}_us": answer[f"{name}_ns"] / 1000 for name in ("p50", "p99")})
        moved = after[f"tcp_moved_{way}"] - before[f"tcp_moved_{way}"]
        if moved != answer["samples"] * case.members:
            raise lab.LabError(f"{moved} connections were moved {way}")
    return Measured(metrics, Counts(after["rx_frames"], after["rx_bytes"], None), client=after)


MEASURES = {"raw_ping_pong": raw_ping_pong, "ping_pong": ping_pong, "redis": redis,
            "raw_stream": raw_stream, "stream": stream, "call_cost": call_cost,
            "accept": accept, "move": move}


def measure(sites, case, seconds):
    site = sites.site(case.setup, case.placement)
    measured = MEASURES[case.kind](site, case, seconds)
    return measured if case.setup.bypasses else measured._replace(counts=None, client=None)
