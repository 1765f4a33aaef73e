#!/usr/bin/env python3
"""diff_run - random sequences of socket calls on the kernel and under Underpass, compared

  diff_run --count 200 --seed 1           sequences 0..199 of seed 1
  diff_run --count 1 --first 17 --seed 1  that one
  diff_run FILE.seq ...                   sequences from files, with their transcripts

New differences are shrunk, printed, and written to build/diff/ as files that can be kept in tests/diff/kept/.
The status is 1 if there were any.
"""

import argparse
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "support")]

from campaign import Campaign, judge  # noqa: E402  (the path comes first)
from executors import Stage  # noqa: E402
from generator import generate  # noqa: E402
from lab import BUILD, Lab  # noqa: E402
from sequence import FAMILIES, Sequence  # noqa: E402

# So many sequences use an executor before a new one is started.
BATCH = 200
# What shows that they were bypassed.
PROOF = ("rx_frames", "tx_frames", "tcp_connects", "tcp_accepts", "kernel_accepts", "kernel_placements",
         "udp_kernel_sends", "udp_kernel_receives")


def show(stage, path):
    """Prints both transcripts of a file's sequence; whether they are the same but for what is known."""
    with open(path, encoding="utf-8") as file:
        sequence = Sequence.parse(file.read())
    kernel, bypass = stage.run(sequence, ""), stage.run(sequence, sequence.bypass)
    for index, (left, right) in enumerate(zip(kernel, bypass)):
        print(sequence.steps[index] if index < len(sequence.steps) else "end")
        for line in left:
            print(f"    kernel {line}" if line not in right else f"           {line}")
        for line in right:
            if line not in left:
                print(f"    bypass {line}")
    difference, _ = judge(sequence, kernel, bypass)
    print(f"{path}: {'the same' if difference is None else difference.describe()}")
    return difference is None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--family", default="inet", choices=FAMILIES)
    parser.add_argument("--whole", action="store_true", help="do not shrink what is found")
    parser.add_argument("--keep", default=os.path.join(BUILD, "diff"))
    arguments = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    with Lab(static_neighbours=True) as lab:
        for host in lab.hosts:
            host.start_broker()
        stage = Stage(lab)
        if arguments.files:
            return 0 if all([show(stage, path) for path in arguments.files]) else 1
        campaign = Campaign(stage, shrinks=not arguments.whole)
        started_s = time.monotonic()
        for index in range(arguments.first, arguments.first + arguments.count):
            campaign.run_one(generate(arguments.seed, index, arguments.family), f"{arguments.seed}/{index}")
            if (index + 1) % BATCH == 0:
                stage.stop()
        stage.stop()
        print(campaign.summary())
        for host, counters in stage.bypassed.items():
            print(f"host {host} under Underpass: " + ", ".join(f"{counters[name]} {name}" for name in PROOF))
        print(f"{arguments.count} sequences in {time.monotonic() - started_s:.1f} s")
        campaign.keep(arguments.keep)
        return 1 if campaign.found else 0


sys.exit(main())
