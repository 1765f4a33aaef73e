"""results_test.py - what the benchmark makes of its rounds, and that it runs at all"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools", "bench"))

import sites  # noqa: E402  (the path comes first)
import programs  # noqa: E402
from cases import Measured, all_cases  # noqa: E402
from report import Report  # noqa: E402
from results import Results  # noqa: E402

PROVED = sites.Counts(frames=1000, bytes=100000, complaint=None)
UNPROVED = sites.Counts(frames=0, bytes=0, complaint="server: only 0 frames through AF_XDP")


def p50(us):
    return {"p50_us": us, "p99_us": us * 2, "p999_us": us * 3}


def tcp_results(figures):
    """Of {(setup, placement, spin): [p50 of each round]}; other cases are not measured."""
    results = Results(all_cases(["tcp"]), {"rounds": 3, "groups": ["tcp"]})
    for one in results.results:
        case = one.case
        for us in figures.get((case.setup, case.placement, case.spin), []):
            one.add(Measured(p50(us), PROVED if case.setup.bypasses else None,
                             histogram=((int(us * 1000), 5),)))
    return results


FIGURES = {
    (sites.RAW, sites.OWN_CORES, False): [2.0, 2.0, 9.0],
    (sites.KERNEL, sites.ONE_CORE, False): [6.0, 7.0, 8.0],
    (sites.KERNEL, sites.OWN_CORES, False): [40.0, 41.0, 42.0],
    (sites.KERNEL, sites.OWN_CORES, True): [4.0, 4.0, 4.0],
    (sites.BOTH, sites.ONE_CORE, False): [20.0, 20.0, 20.0],
    (sites.BOTH, sites.OWN_CORES, False): [2.8, 2.8, 2.8],
    (sites.BOTH, sites.OWN_CORES, True): [1.0, 1.0, 1.0],
    (sites.CLASS, sites.ONE_CORE, False): [9.0, 9.0, 9.0],
    (sites.CLASS, sites.OWN_CORES, False): [2.1, 2.1, 2.1],
}


class ResultsTest(unittest.TestCase):

    def test_medians_are_compared_with_the_better_placement(self):
        floor, sleeping, spinning, of_class = tcp_results(FIGURES).targets()
        self.assertAlmostEqual(floor.reached, 2.8 / 2.0)
        self.assertAlmostEqual(sleeping.reached, 7.0 / 2.8)
        self.assertAlmostEqual(spinning.reached, 4.0 / 2.8)
        self.assertAlmostEqual(of_class.reached, 2.1 / 2.8)
        self.assertTrue(floor.met and sleeping.met and spinning.met and of_class.met)
        self.assertIsNone(floor.missed_by)

    def test_missed_target_says_by_how_much(self):
        slow = {**FIGURES, (sites.BOTH, sites.OWN_CORES, False): [6.0]}
        floor, sleeping, *_ = tcp_results(slow).targets()
        self.assertAlmostEqual(floor.missed_by, 1.0)
        self.assertFalse(sleeping.met)
        text = "\n".join(Report(tcp_results(slow)).targets())
        self.assertIn("missed by 100%", text)

    def test_figure_without_proof_of_bypass_does_not_count(self):
        results = tcp_results(FIGURES)
        for one in results.results:
            if one.case.setup is sites.BOTH:
                one.rounds = [measured._replace(counts=UNPROVED) for measured in one.rounds]
        self.assertTrue(all(target.reached is None for target in results.targets()))
        report = "\n".join(Report(results).group("tcp"))
        self.assertIn("not bypassed: server: only 0 frames through AF_XDP", report)

    def test_histograms_of_all_rounds_are_added(self):
        raw = tcp_results(FIGURES).results[0]
        self.assertEqual(sorted(raw.histogram.items()), [(2000, 10), (9000, 5)])

    def test_results_are_json(self):
        whole = json.loads(json.dumps(tcp_results(FIGURES).as_json()))
        self.assertEqual(len(whole["targets"]), 4)
        self.assertEqual(whole["cases"][0]["metrics"]["p50_us"]["rounds"], [2.0, 2.0, 9.0])

    def test_costliest_kind_of_file_is_judged(self):
        results = Results(all_cases(["cost"]), {"rounds": 3, "groups": ["cost"]})
        for one in results.results:
            bypassed = one.case.setup is sites.BOTH
            for pipe_ns in (1.0, 3.0, 2.0):
                one.add(Measured({"pipe_ns": pipe_ns, "unix_ns": 45.0 if bypassed else 0.0},
                                 PROVED if bypassed else None))
        target, = results.targets()
        self.assertEqual(target.reached, 45.0)
        self.assertAlmostEqual(target.missed_by, 0.5)
        self.assertEqual(target.detail, "pipe 2.0, unix 45.0")

    def test_cost_of_a_program_without_the_library_does_not_count(self):
        results = Results(all_cases(["cost"]), {"rounds": 1, "groups": ["cost"]})
        for one in results.results:
            one.add(Measured({"pipe_ns": 1.0}, UNPROVED if one.case.setup is sites.BOTH else None))
        target, = results.targets()
        self.assertIsNone(target.reached)

    def test_latency_ratio_is_turned_round(self):
        latency = programs.Program("ping", "us", False, None)
        rate = programs.Program("requests", "requests/s", True, None)
        self.assertEqual(latency.ratio(kernel=6.0, underpass=3.0), 2.0)
        self.assertEqual(rate.ratio(kernel=6.0, underpass=3.0), 0.5)
        self.assertEqual((latency.better([2, 1]), rate.better([2, 1])), (1, 0))


@unittest.skipUnless(os.geteuid() == 0, "makes network namespaces: needs root")
@unittest.skipUnless(os.path.exists(programs.own("raw_xdp")), "not built: run `make`")
class BenchTest(unittest.TestCase):

    def test_writes_results_and_plots(self):
        with tempfile.TemporaryDirectory() as directory:
            done = subprocess.run(
                [os.path.join(ROOT, "scripts", "bench"), "--quick", "--rounds=1", "--seconds=0.05",
                 "--only=bulk", f"--out={directory}"],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
            self.assertEqual(done.returncode, 0, done.stdout)
            with open(os.path.join(directory, "results.json"), encoding="utf-8") as file:
                results = json.load(file)
            self.assertTrue(os.path.exists(os.path.join(directory, "bulk.png")), done.stdout)
        cases = {(case["setup"], case["placement"]): case for case in results["cases"]}
        for measured in [("raw AF_XDP", sites.OWN_CORES), ("kernel", sites.ONE_CORE)]:
            self.assertGreater(cases[measured]["metrics"]["gbits"]["median"], 0, done.stdout)
        self.assertIn("bulk TCP: of raw AF_XDP", done.stdout)


if __name__ == "__main__":
    unittest.main()
