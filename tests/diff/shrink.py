"""shrink.py - makes a sequence that fails shorter, as long as it still fails

Delta debugging (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002): parts of
the steps are left out, ever smaller ones, and then words are replaced by plainer ones.
"""

from dataclasses import replace


def shrink_list(items, fails):
    """A sublist of `items` of which no single one can be left out. fails(items) is taken for true."""
    parts = 2
    while len(items) >= 2:
        size = max(1, len(items) // parts)
        for start in range(0, len(items), size):
            rest = items[:start] + items[start + size:]
            if rest and fails(rest):
                items, parts = rest, max(parts - 1, 2)
                break
        else:
            if size == 1:
                return items
            parts = min(len(items), parts * 2)
    return items


def plainer(step):
    """The step with one thing less in it."""
    if step.together:
        yield replace(step, together=False)
    if step.worker:
        yield replace(step, worker=0)
    for at, word in enumerate(step.words):
        shorter = [word.replace(f"{part}|", "", 1) if f"{part}|" in word else word.replace(f"|{part}", "", 1)
                   for part in word.split("|")] if "|" in word and ":" not in word else []
        if "," in word and word[0] in "dbfs":
            parts = word.split(",")
            shorter += [",".join(parts[:i] + parts[i + 1:]) for i in range(len(parts))]
        for one in shorter:
            yield replace(step, words=(*step.words[:at], one, *step.words[at + 1:]))


def shrink(sequence, fails):
    """fails(sequence) says whether what is looked for is still there."""
    steps = shrink_list(list(sequence.steps), lambda some: fails(sequence.with_steps(some)))
    changed = True
    while changed:
        changed = False
        for index, step in enumerate(steps):
            for other in plainer(step):
                candidate = steps[:index] + [other] + steps[index + 1:]
                if fails(sequence.with_steps(candidate)):
                    steps, changed = candidate, True
                    break
    return sequence.with_steps(steps)
