"""programs.py - unmodified programs as pairs of server and client, each yielding one number

Each function takes a site (sites.py) and the seconds to measure for, and returns (value, Counts).
"""

import csv
import io
import json
import os
import re
from typing import Callable, NamedTuple

import lab
from nginx_configuration import write_nginx_configuration

PROGRAMS = os.path.join(lab.BUILD, "bench")
REDIS_LOADS = {
    "-c 1": ["-c", "1"],
    "-c 50": ["-c", "50"],
    "-c 50 -P 16": ["-c", "50", "-P", "16"],
}
# Requests before the rate is known: a few tenths of a second at most.
REDIS_WARM_UP = {"-c 1": 2000, "-c 50": 5000, "-c 50 -P 16": 30000}
REDIS_FEWEST = 2000


def own(name):
    """One of our own programs of tools/bench/."""
    return os.path.join(PROGRAMS, name)


# redis

def serve_redis(site):
    port = site.lab.new_port()
    argv = ["redis-server", "--port", port, "--bind", "0.0.0.0", "--protected-mode", "no",
            "--save", "", "--appendonly", "no", "--dir", site.lab.directory]
    return port, site.serve(argv, port)


def redis_rate(site, port, arguments, requests):
    """Requests a second over as many SETs as GETs."""
    done = site.call(["redis-benchmark", "-h", site.server.address, "-p", port, "-t", "set,get",
                      "--csv", "-n", int(requests), *arguments])
    rates = [float(row["rps"]) for row in csv.DictReader(io.StringIO(done.out))]
    if len(rates) != 2 or min(rates) <= 0:
        raise lab.LabError(f"redis-benchmark: {done.describe()}")
    return len(rates) / sum(1 / rate for rate in rates)


def redis_load(site, port, load, seconds):
    """(requests a second, Counts). As many requests as the warm-up says are needed."""
    arguments = REDIS_LOADS[load]
    warm = redis_rate(site, port, arguments, REDIS_WARM_UP[load])
    watch = site.watch()
    rate = redis_rate(site, port, arguments, max(REDIS_FEWEST, warm * seconds / 2))
    return rate, watch.finish()


def redis(load):
    def run(site, seconds):
        port, server = serve_redis(site)
        with server:
            return redis_load(site, port, load, seconds)
    return run


# web servers

def make_page(site):
    directory = os.path.join(site.lab.directory, "www")
    os.makedirs(directory, exist_ok=True)
    os.chmod(directory, 0o755)
    site.lab.write("www/index.html", "<p>hello</p>\n")
    return directory


def nginx(site, seconds):
    port = site.lab.new_port()
    make_page(site)
    path = write_nginx_configuration(site.lab, port, "keepalive_requests 1000000;")
    url = f"http://{site.server.address}:{port}/index.html"
    with site.serve(["/usr/sbin/nginx", "-e", "stderr", "-c", path], port):
        watch = site.watch()
        # wrk takes whole seconds only.
        done = site.call(["wrk", "-t", 1, "-c", 20, "-d", f"{max(1, round(seconds))}s", url])
        counts = watch.finish()
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.out)
    if not found or "Socket errors" in done.out or "Non-2xx" in done.out:
        raise lab.LabError(f"wrk: {done.describe()}")
    return float(found.group(1)), counts


CURL_REQUESTS = 300


def http_server(site, _):
    port = site.lab.new_port()
    argv = [lab.PYTHON, "-m", "http.server", port, "--directory", make_page(site)]
    # http.server ends with status 143 on SIGTERM: it is killed.
    with site.serve(argv, port, stop=False):
        watch = site.watch()
        done = site.call(["curl", "-sS", "--fail", "-o", "/dev/null", "-w", "%{time_total}\n",
                          f"http://{site.server.address}:{port}/index.html?[1-{CURL_REQUESTS}]"])
        counts = watch.finish()
    times_s = [float(line) for line in done.out.split()]
    return len(times_s) / sum(times_s), counts


# memcached

def memcached(site, seconds):
    port = site.lab.new_port()
    argv = ["memcached", "-t", 4, "-u", "root", "-p", port, "-U", 0, "-l", "0.0.0.0"]
    # It takes a second to end when asked to.
    with site.serve(argv, port, stop=False):
        watch = site.watch()
        done = site.call([own("memcached_load"), f"--address={site.server.address}",
                          f"--port={port}", f"--seconds={seconds}"])
        counts = watch.finish()
    answer = json.loads(done.out)
    return answer["answers"] / answer["seconds"], counts


# iperf3, sockperf

def iperf3(*arguments):
    def run(site, seconds):
        port = site.lab.new_port()
        # -4: one family, as the other programs here.
        with site.serve(["iperf3", "-s", "-4", "-1", "-p", port], port, stop=False) as server:
            watch = site.watch()
            done = site.call(["iperf3", "-c", site.server.address, "-p", port, "-J", "-O", "0.2",
                              "-t", max(1, round(seconds)), *arguments], check=False)
            counts = watch.finish()
            report = json.loads(done.out)
            if "error" in report:
                raise lab.LabError(f"iperf3: {report['error']}")
            server.wait()
        return received_gbits(report["end"]), counts
    return run


def received_gbits(end):
    if "sum_received" in end and end.get("sum_received", {}).get("bits_per_second"):
        return end["sum_received"]["bits_per_second"] / 1e9
    total = end["sum"]
    return total["bits_per_second"] * (1 - total["lost_percent"] / 100) / 1e9


def sockperf(protocol):
    def run(site, seconds):
        port = site.lab.new_port()
        tcp = ["--tcp"] if protocol == "tcp" else []
        with site.serve(["sockperf", "server", "-i", "0.0.0.0", "-p", port, *tcp], port, protocol,
                        stop=False):
            watch = site.watch()
            done = site.call(["sockperf", "ping-pong", "-i", site.server.address, "-p", port, *tcp,
                              "-m", 64, "-t", max(1, round(seconds))])
            counts = watch.finish()
        found = re.search(r"percentile 50.000\s*=\s*([\d.]+)", done.out)
        if not found:
            raise lab.LabError(f"sockperf: {done.describe()}")
        return float(found.group(1)), counts
    return run


class Program(NamedTuple):
    name: str
    unit: str
    more_is_better: bool
    run: Callable

    def better(self, values):
        """The index of the best of several values."""
        pick = max if self.more_is_better else min
        return values.index(pick(values))

    def ratio(self, kernel, underpass):
        """How many times better Underpass is."""
        return underpass / kernel if self.more_is_better else kernel / underpass


ALL = [
    *[Program(f"redis-benchmark {load}", "requests/s", True, redis(load)) for load in REDIS_LOADS],
    Program("nginx, wrk -c 20", "requests/s", True, nginx),
    Program("memcached -t 4", "requests/s", True, memcached),
    Program("iperf3 TCP", "Gbit/s", True, iperf3()),
    Program("iperf3 UDP", "Gbit/s", True, iperf3("-u", "-b", "0", "-l", "1448")),
    Program("sockperf TCP, one way", "us", False, sockperf("tcp")),
    Program("sockperf UDP, one way", "us", False, sockperf("udp")),
    Program("http.server, curl", "requests/s", True, http_server),
]
