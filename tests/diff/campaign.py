"""campaign.py - runs many sequences, tells known differences from new ones, shrinks and writes the new ones"""

import collections
import os

from compare import Difference, differences
from known import known
from shrink import shrink

# A difference that does not show every time is another finding.
CONFIRMATIONS = 2


def judge(sequence, kernel, bypass):
    """(the first difference that is not known or None, the known entries that were met)."""
    met = []
    for difference in differences(sequence, kernel, bypass):
        entry = known(difference)
        if entry is None:
            return difference, met
        met.append(entry)
        if not entry.goes_on:
            break
    return None, met


def same_kind(one, other):
    """Whether two differences are likely one: the call and the two answers, without amounts."""
    def shape(difference):
        return difference.call, difference.kind
    return one is not None and shape(one) == shape(other)


class Campaign:
    """Counts what became of the sequences."""

    def __init__(self, stage, say=print, shrinks=True):
        self.stage, self.say, self.shrinks = stage, say, shrinks
        self.counts = collections.Counter()
        self.known = collections.Counter()
        self.found = []         # (index, shrunk sequence, difference)

    def observe(self, sequence, patient=False):
        """The difference that a run of both shows, or None."""
        kernel = self.stage.run(sequence, "", patient)
        bypass = self.stage.run(sequence, sequence.bypass, patient)
        return (*judge(sequence, kernel, bypass), kernel)

    def confirm(self, sequence, difference, kernel):
        """new, or why it counts for nothing."""
        for _ in range(CONFIRMATIONS):
            if self.stage.run(sequence, "", True) != kernel:
                return "undecided on the kernel"
            again = judge(sequence, kernel, self.stage.run(sequence, sequence.bypass, True))[0]
            if not same_kind(again, difference):
                return "not every time under Underpass"
        return "new"

    def still_there(self, difference):
        def fails(sequence):
            return same_kind(self.observe(sequence, True)[0], difference)
        return fails

    def run_one(self, sequence, label):
        difference, met, kernel = self.observe(sequence)
        for entry in {one.name for one in met}:
            self.known[entry] += 1
        if difference is None:
            self.counts["known differences" if met else "the same"] += 1
            return
        verdict = self.confirm(sequence, difference, kernel)
        self.counts[verdict] += 1
        if verdict != "new":
            if verdict.startswith("not every"):
                self.say(f"{label}: {verdict}: {difference.describe()}")
            return
        short = sequence.with_steps(sequence.steps[:difference.index + 1])
        if self.shrinks:
            short = shrink(short, self.still_there(difference))
        found = self.observe(short)[0] or difference
        self.found.append((label, short, found))
        self.say(f"{label}: new, in {len(short.steps)} steps\n{short}{found.describe()}")

    def keep(self, folder):
        """Writes what was found, to be looked at or kept as tests."""
        os.makedirs(folder, exist_ok=True)
        for label, sequence, difference in self.found:
            noted = f"{label}\n{difference.describe()}".splitlines()
            text = "".join(f"# {line}\n" for line in noted) + str(sequence)
            with open(os.path.join(folder, f"{label.replace('/', '-')}.seq"), "w", encoding="utf-8") as file:
                file.write(text)

    def summary(self):
        lines = [f"{count:6} {what}" for what, count in self.counts.most_common()]
        lines += [f"{count:6} met: {name}" for name, count in self.known.most_common()]
        return "\n".join(lines)


__all__ = ["Campaign", "Difference", "judge"]
