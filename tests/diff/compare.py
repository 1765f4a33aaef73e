"""compare.py - where two transcripts of a sequence part"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    sequence: object
    index: int              # of the step; as many as there are steps: when all was closed
    kernel: str
    bypass: str

    @property
    def step(self):
        """Whose result it is: of two that are made together maybe the first."""
        steps = self.sequence.steps
        if self.kind == "meanwhile" and self.index > 0:
            return steps[self.index - 1]
        return steps[self.index] if self.index < len(steps) else None

    @property
    def call(self):
        return self.step.call if self.step else "end"

    @property
    def kind(self):
        """result, meanwhile (of the step before, made together with this), returns (of another thread), ready,
        executor (it died or hangs)."""
        line = self.bypass if self.bypass.startswith("executor ") else self.kernel or self.bypass
        what = line.partition(":")[0]
        if what.startswith("executor"):
            return "executor"
        if what in ("A", "B"):
            return "ready"
        return what.split()[-1]

    def describe(self):
        return (f"step {self.index + 1}: {self.step or 'everything is closed'}\n  kernel: {self.kernel}\n"
                f"  bypass: {self.bypass}")


def differences(sequence, kernel, bypass):
    """Each line that is not the same, step by step."""
    for index in range(max(len(kernel), len(bypass))):
        left = kernel[index] if index < len(kernel) else ()
        right = bypass[index] if index < len(bypass) else ()
        for at in range(max(len(left), len(right))):
            one = left[at] if at < len(left) else ""
            other = right[at] if at < len(right) else ""
            if one != other:
                yield Difference(sequence, index, one, other)


def first_difference(sequence, kernel, bypass, is_accepted=lambda difference: False):
    """The first that is not accepted, or None."""
    return next((one for one in differences(sequence, kernel, bypass) if not is_accepted(one)), None)
