"""What would tell a real face from a fake one without a look at the forgery: source, compression, resolution.

For each such fact: the balanced accuracy of the best guess that knows this fact alone, which is (1 + total variation
between its distributions over reals and over fakes) / 2. Chance is .5. A detector that can learn it will.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from math import log2
from typing import TYPE_CHECKING, TypeVar

from mrigan.catalog import LABELS, SPLITS

if TYPE_CHECKING:
    from mrigan.packing.stats import Group

TELLING = 0.6  # balanced accuracy from which on a fact is reported
FEW = 30  # clips of a label under which such a figure is mostly chance
BALANCE = 5.0  # faces of one label for each of the other

T = TypeVar("T")
Distribution = Counter[str]
FACTS: dict[str, Callable[[Group], Distribution]] = {
    "data set": lambda group: Counter({group.dataset: group.faces}),
    "compression": lambda group: Counter({group.compression or "none given": group.faces}),
    "size of the frame": lambda group: _named(group.frames, lambda size: f"{size[0]} × {size[1]}"),
    "width of the face": lambda group: _named(group.widths, _octave),
}


def warnings_of(groups: Sequence[Group]) -> list[str]:
    """What gives a label away, what is out of balance, and which sources gave no faces: a sentence each."""
    warnings = []
    for split in SPLITS:
        members = [group for group in groups if group.split == split]
        faces = {label: sum(g.faces for g in members if g.label == label) for label in LABELS}
        if not sum(faces.values()):
            continue
        absent = [label for label in LABELS if not faces[label]]
        if absent:
            warnings.append(f"{split} has no {absent[0]} faces")
            continue
        warnings += _telling(split, members)
        many = max(LABELS, key=lambda label: faces[label])
        few = next(label for label in LABELS if label != many)
        if faces[many] > BALANCE * faces[few]:
            warnings.append(f"{split} has {faces[many]} {many} faces and {faces[few]} {few} ones; an epoch takes as "
                            f"many of each, so of the {many} ones {faces[few] / faces[many]:.0%}")  # fmt: skip
    for group in groups:
        if group.per_clip[0] > group.clips / 2:
            why = ", ".join(f"{n} {reason}" for reason, n in (group.dropped + group.failed).most_common(3))
            warnings.append(f"{group.split}: {group.per_clip[0]} of the {group.clips} clips of {group.name} "
                            f"({group.label}) gave no face ({why})")  # fmt: skip
    return warnings


def accuracies(groups: Sequence[Group]) -> dict[str, dict[str, float]]:
    """Split → fact → the balanced accuracy of the best guess from that fact alone, of splits with both labels."""
    found: dict[str, dict[str, float]] = {}
    for split in SPLITS:
        sides = [[g for g in groups if g.split == split and g.label == label and g.faces] for label in LABELS]
        if all(sides):
            found[split] = {fact: balanced_accuracy(*(sum((of(g) for g in side), Counter()) for side in sides))
                            for fact, of in FACTS.items()}  # fmt: skip
    return found


def balanced_accuracy(reals: Distribution, fakes: Distribution) -> float:
    """Of the best guess of the label from one fact alone, 0.5 (chance) to 1."""
    real, fake = reals.total(), fakes.total()
    return 0.5 + sum(abs(reals[value] / real - fakes[value] / fake) for value in reals.keys() | fakes.keys()) / 4


def _telling(split: str, groups: Sequence[Group]) -> Iterator[str]:
    clips: Counter[str] = Counter()
    for group in groups:
        clips[group.label] += group.clips - group.per_clip[0]
    few = min(clips.values())
    doubt = f", from {few} clip{'s' if few > 1 else ''} only" if few < FEW else ""
    for fact, of in FACTS.items():
        found: dict[str, Distribution] = defaultdict(Counter)
        for group in groups:
            found[group.label].update(of(group))
        reals, fakes = found["real"], found["fake"]
        accuracy = balanced_accuracy(reals, fakes)
        if accuracy >= TELLING:
            share = {value: (reals[value] / reals.total(), fakes[value] / fakes.total()) for value in reals | fakes}
            value, (real, fake) = max(share.items(), key=lambda item: abs(item[1][0] - item[1][1]))
            yield (f"{split}: the {fact} alone tells real from fake with a balanced accuracy of {accuracy:.2f} "
                   f"(chance .50{doubt}): {value} in {real:.0%} of the reals and {fake:.0%} of the fakes")  # fmt: skip


def _named(counts: Counter[T], name: Callable[[T], str]) -> Distribution:
    named: Distribution = Counter()
    for value, count in counts.items():
        named[name(value)] += count
    return named


def _octave(width: int) -> str:
    low = 2 ** int(log2(max(width, 1)))
    return f"{low} to {2 * low} px"
