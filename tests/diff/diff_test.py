"""diff_test.py - the differential tests' own parts, the sequences that are kept, and a short random run

SEQUENCES=name,name in the environment limits the kept ones, for work on one of them.
"""

import glob
import os
import re
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "netns")]

from lab_case import LabCase, needs_bypass  # noqa: E402  (the path comes first)
from lab import Lab  # noqa: E402
from campaign import Campaign, judge  # noqa: E402
from compare import differences, first_difference  # noqa: E402
from executors import Names, Stage  # noqa: E402
from generator import generate  # noqa: E402
from known import KNOWN, known  # noqa: E402
from sequence import FAMILIES, Malformed, Place, Sequence, Step, command  # noqa: E402
from shrink import shrink, shrink_list  # noqa: E402

KEPT = os.path.join(HERE, "kept")
# Of a fixed seed, so that what is red tomorrow was green today.
SHORT_SEED, SHORT_COUNT = "make test", 60
SHORT_FAMILIES = ("inet", "inet", "mapped")
# So many calls must have been seen in so many sequences.
MANY_SEQUENCES = 400


def read_kept():
    """{name: sequence}"""
    found = {}
    for path in sorted(glob.glob(os.path.join(KEPT, "*.seq"))):
        with open(path, encoding="utf-8") as file:
            found[os.path.basename(path)[:-len(".seq")]] = Sequence.parse(file.read())
    return found


def sequence_of(*lines):
    return Sequence.parse("\n".join(lines))


class GeneratorTest(unittest.TestCase):

    def test_same_seed_same_sequence(self):
        self.assertEqual(str(generate("x", 7)), str(generate("x", 7)))
        self.assertNotEqual(str(generate("x", 7)), str(generate("x", 8)))
        self.assertNotEqual(str(generate("x", 7)), str(generate("y", 7)))

    def test_a_sequence_survives_its_file(self):
        for index in range(100):
            sequence = generate("file", index, FAMILIES[index % len(FAMILIES)])
            self.assertEqual(Sequence.parse(str(sequence)), sequence)

    def test_every_word_has_a_meaning_for_the_executor(self):
        place = Place({"A": "10.0.0.1", "B": "10.0.0.2", "hole": "10.0.0.99"}, {}, lambda slot: ("10.0.0.1", 9))
        for index in range(MANY_SEQUENCES):
            sequence = generate("words", index)
            place.ports = {name: 1 for name in sequence.ports()}
            for step in sequence.steps:
                self.assertNotRegex(command(step, place), r"[A-Z]{3}|@", str(step))

    def test_every_call_of_the_executor_is_made(self):
        made = {step.call for index in range(MANY_SEQUENCES) for step in generate("calls", index).steps}
        table = set()
        for path in glob.glob(os.path.join(HERE, "executor", "calls_*.cpp")):
            with open(path, encoding="utf-8") as file:
                table |= set(re.findall(r'\{"(\w+)", call_', file.read()))
        self.assertEqual(made - {"signal"}, table)

    def test_what_is_no_step_is_refused(self):
        for line in ("C close s1", "A", "A/3 close s1", "close s1"):
            self.assertRaises(Malformed, Step.parse, line)


class ComparerTest(unittest.TestCase):
    sequence = sequence_of("A s1 = socket AF_INET SOCK_STREAM 0", "A close s1")
    transcript = [("result: 5", "A: s1=OUT|HUP"), ("result: 0", "A: s1=NVAL"), ()]

    def planted(self, step, line, text):
        other = list(map(list, self.transcript))
        other[step][line] = text
        return list(map(tuple, other))

    def test_the_same_is_no_difference(self):
        self.assertIsNone(first_difference(self.sequence, self.transcript, list(self.transcript)))

    def test_a_planted_difference_is_found_where_it_is(self):
        for step, line, text in ((0, 0, "result: 6"), (1, 0, "result: -1 EBADF"), (1, 1, "A: s1=0")):
            found = first_difference(self.sequence, self.transcript, self.planted(step, line, text))
            self.assertEqual((found.index, found.bypass), (step, text))

    def test_what_is_missing_or_too_much_is_a_difference(self):
        for other in (self.transcript[:2] + [("A/1 ends: 0",)], self.transcript[:1], [("result: 5",)] + self.transcript[1:]):
            self.assertIsNotNone(first_difference(self.sequence, self.transcript, other))

    def test_a_death_is_of_the_kind_executor(self):
        found = first_difference(self.sequence, self.transcript, [("executor died: status -11",)])
        self.assertEqual(found.kind, "executor")

    def test_known_differences_end_the_comparison_or_do_not(self):
        sequence = sequence_of("A recv s1 b4 MSG_ERRQUEUE", "A recv s1 b4 0")
        kernel, bypass = [("result: 1",), ("result: 2",)], [("result: 3",), ("result: 4",)]
        entry = known(next(differences(sequence, kernel, bypass)))
        self.assertEqual(judge(sequence, kernel, bypass), (None, [entry]))
        swapped = sequence.with_steps(sequence.steps[::-1])
        self.assertEqual(judge(swapped, kernel, bypass)[0].index, 0)

    def test_numbers_that_depend_on_the_run_are_named(self):
        names = Names({"A": "10.0.0.1"}, {"P0": 10001})
        self.assertEqual(names.address(bytes.fromhex("0200" "2711" "0a000001" "0000000000000000")), "A:P0")
        self.assertEqual(names.address(bytes.fromhex("0200" "c351" "0a000001" "0000000000000000")), "A:E1")
        self.assertEqual(names.address(bytes.fromhex("0200" "c352" "0a000001" "00000000000000ff")), "A:E2+ff")
        self.assertEqual(names.address(bytes.fromhex("0200" "c353" "0a")), "0200:E30a")
        self.assertEqual(names.result("30000 data=####...30000:1"), "many data=#")
        self.assertEqual(names.result("-1 EAGAIN revents=5"), "-1 EAGAIN revents=IN|OUT")


class ShrinkerTest(unittest.TestCase):

    def test_only_what_is_needed_stays(self):
        self.assertEqual(shrink_list(list(range(50)), lambda some: {3, 31, 32} <= set(some)), [3, 31, 32])

    def test_words_become_plainer(self):
        sequence = sequence_of("A close s9", "A/1 recv s1 b4 MSG_DONTWAIT|MSG_PEEK|MSG_TRUNC", "B close s1")
        short = shrink(sequence, lambda one: any(step.call == "recv" and step.uses("MSG_PEEK") for step in one.steps))
        self.assertEqual([str(step) for step in short.steps], ["A recv s1 b4 MSG_PEEK"])


class KnownTest(unittest.TestCase):

    def test_every_known_difference_is_documented(self):
        with open(os.path.join(ROOT, "docs", "compatibility.md"), encoding="utf-8") as file:
            text = " ".join(file.read().split())
        for entry in KNOWN:
            self.assertIn(" ".join(entry.documented.split()), text, entry.name)
            self.assertTrue(entry.reason)

    def test_names_are_each_one_entrys(self):
        self.assertEqual(len({entry.name for entry in KNOWN}), len(KNOWN))


class PlantedStage:
    """A stage that says something else of shutdown(SHUT_WR) where it is asked for bypass."""

    def __init__(self, stage):
        self.stage = stage

    def run(self, sequence, bypass, patient=False):
        transcript = self.stage.run(sequence, "", patient)
        for index, step in enumerate(sequence.steps):
            if bypass and step.call == "shutdown" and step.uses("SHUT_WR") and transcript[index][0] == "result: 0":
                transcript[index] = ("result: -1 ENOTCONN", *transcript[index][1:])
        return transcript


@needs_bypass
class DiffTest(LabCase):
    """On the hosts of a lab."""

    @classmethod
    def lab_type(cls, queues):
        return Lab(queues=queues, static_neighbours=True)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stage = Stage(cls.lab)
        cls.addClassCleanup(cls.stage.stop)

    def test_kept_sequences(self):
        wanted = os.environ.get("SEQUENCES")
        for name, sequence in read_kept().items():
            if wanted is None or name in wanted.split(","):
                with self.subTest(sequence=name):
                    campaign = Campaign(self.stage)
                    difference, met, _ = campaign.observe(sequence)
                    if difference:
                        difference, met, _ = campaign.observe(sequence, patient=True)
                    if difference:
                        self.fail(f"\n{sequence}{difference.describe()}")
                    self.assertEqual(met, [], "a kept sequence shows what was mended, not what is known")

    def test_a_planted_difference_is_found_and_shrunk(self):
        campaign = Campaign(PlantedStage(self.stage), say=lambda text: None)
        for index in range(200):
            campaign.run_one(generate("planted", index), f"planted/{index}")
            if campaign.found:
                break
        _, short, difference = campaign.found[0]
        self.assertIn("-1 ENOTCONN", difference.bypass)
        self.assertEqual(short.steps[-1].call, "shutdown")
        # A listener and a client that connects: six.
        self.assertLessEqual(len(short.steps), 6, str(short))

    def test_a_dead_executor_is_a_difference_of_its_sequence(self):
        sequence = sequence_of("A s1 = socket AF_INET SOCK_STREAM 0", "A close s1")
        executor = self.stage.kinds["A", True]
        self.stage.run(sequence, "A")
        executor.process.kill()
        transcript = self.stage.run(sequence, "A")
        found = first_difference(sequence, self.stage.run(sequence, ""), transcript)
        self.assertEqual((found.kind, found.index), ("executor", 0))
        self.assertIsNone(first_difference(sequence, self.stage.run(sequence, ""), self.stage.run(sequence, "A")))

    def test_random_sequences(self):
        campaign = Campaign(self.stage, say=lambda text: print(text, flush=True))
        for index in range(SHORT_COUNT):
            family = SHORT_FAMILIES[index % len(SHORT_FAMILIES)]
            campaign.run_one(generate(SHORT_SEED, index, family), f"{SHORT_SEED}/{index}")
        print(campaign.summary(), flush=True)
        self.assertEqual([], [f"{label}\n{short}{found.describe()}" for label, short, found in campaign.found])
        self.stage.stop()
        for host, counters in self.stage.bypassed.items():
            self.assertGreater(counters["rx_frames"], SHORT_COUNT, host)
            self.assertGreater(counters["tcp_connects"] + counters["tcp_accepts"],
                               counters["kernel_accepts"] + counters["kernel_placements"], counters)


if __name__ == "__main__":
    unittest.main()
