"""Facts that tell real from fake without the forgery: source, compression, resolution. A detector learns them.

For each fact: the balanced accuracy of the best guess from this fact alone, which is (1 + total variation between its
distributions over reals and over fakes) / 2. Chance is .5. (MRI-GAN, section 3, takes its reals from other sources than
its fakes.)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from math import log2
from typing import TypeVar

from mrigan.catalog import LABELS, SPLITS
from mrigan.packing.groups import Group
from mrigan.text import counted

MIN_ACCURACY = 0.6  # balanced accuracy of a fact that is reported
MIN_CLIPS = 30  # of a label; with fewer, such a figure is mostly chance
MAX_RATIO = 5.0  # faces of one label for each of the other

T = TypeVar("T")
Distribution = Counter[str]
FACTS: dict[str, Callable[[Group], Distribution]] = {
    "data set": lambda group: Counter({group.dataset: group.faces}),
    "compression": lambda group: Counter({group.compression or "none given": group.faces}),
    "size of the frame": lambda group: _named(group.frames, lambda size: f"{size[0]} × {size[1]}"),
    "width of the face": lambda group: _named(group.widths, _octave),
}


def warnings_of(groups: Sequence[Group]) -> list[str]:
    """What gives the label away, what is unbalanced, and which sources gave no faces: each once, with its splits."""
    warnings, unbalanced = [], []
    absent: dict[str, list[str]] = {label: [] for label in LABELS}
    whole = []
    for split in SPLITS:
        faces = {label: sum(g.faces for g in groups if (g.split, g.label) == (split, label)) for label in LABELS}
        few, many = sorted(LABELS, key=lambda label: faces[label])
        if not faces[many]:
            continue
        if not faces[few]:
            absent[few].append(split)
            continue
        whole.append(split)
        if faces[many] > MAX_RATIO * faces[few]:
            share = f"{faces[few] / faces[many]:.0%}"
            unbalanced.append(f"{split} has {faces[many]} {many} faces and {faces[few]} {few} ones; a balanced epoch "
                              f"takes as many of each, so of the {many} ones {share}")  # fmt: skip
    for label, splits in absent.items():
        if splits:
            warnings.append(f"{_and(splits)} {'has' if len(splits) == 1 else 'have'} no {label} faces")
    return [*warnings, *_telling(whole, groups), *unbalanced, *_silent(groups)]


def accuracies(groups: Sequence[Group]) -> dict[str, dict[str, float]]:
    """Split → fact → the balanced accuracy of the best guess from that fact alone, of splits with both labels."""
    by_split: dict[str, dict[str, float]] = {}
    for split in SPLITS:
        sides = [[g for g in groups if g.split == split and g.label == label and g.faces] for label in LABELS]
        if all(sides):
            by_split[split] = {fact: balanced_accuracy(*(sum((of(g) for g in side), Counter()) for side in sides))
                            for fact, of in FACTS.items()}  # fmt: skip
    return by_split


def balanced_accuracy(reals: Distribution, fakes: Distribution) -> float:
    """Of the best guess of the label from one fact alone, 0.5 (chance) to 1."""
    real, fake = reals.total(), fakes.total()
    return 0.5 + sum(abs(reals[value] / real - fakes[value] / fake) for value in reals.keys() | fakes.keys()) / 4


def _telling(splits: Sequence[str], groups: Sequence[Group]) -> Iterator[str]:
    """A sentence for each fact that tells the labels apart, with the splits; the example is of the worst split."""
    few = {}
    for split in splits:
        clips: Counter[str] = Counter()
        for group in (g for g in groups if g.split == split):
            clips[group.label] += group.clips - group.per_clip[0]
        few[split] = min(clips.values())
    for fact, of in FACTS.items():
        results: dict[str, tuple[float, str]] = {}
        for split in splits:
            reals, fakes = (
                sum((of(g) for g in groups if (g.split, g.label) == (split, label)), Distribution()) for label in LABELS
            )
            accuracy = balanced_accuracy(reals, fakes)
            if accuracy >= MIN_ACCURACY:
                share = {value: (reals[value] / reals.total(), fakes[value] / fakes.total()) for value in reals | fakes}
                value, (real, fake) = max(share.items(), key=lambda item: abs(item[1][0] - item[1][1]))
                results[split] = accuracy, f"{value} in {real:.0%} of the reals and {fake:.0%} of the fakes"
        if results:
            worst = max(results, key=lambda split: results[split][0])
            numbers = _and([f"{accuracy:.2f} in {split}" for split, (accuracy, _) in results.items()])
            limits = [f"from {counted(few[s], 'clip')} only in {s}" for s in results if few[s] < MIN_CLIPS]
            limit = f"; {_and(limits)}" if limits else ""
            where = f" of {worst}" if len(results) > 1 else ""
            yield (f"the {fact} alone tells real from fake with a balanced accuracy of {numbers} (chance .50{limit}): "
                   f"{results[worst][1]}{where}")  # fmt: skip


def _silent(groups: Sequence[Group]) -> Iterator[str]:
    """A sentence for each source most of whose clips in some split gave no face."""
    silent: dict[tuple[str, str], list[Group]] = defaultdict(list)
    for group in groups:
        if group.per_clip[0] > group.clips / 2:
            silent[group.name, group.label].append(group)
    for (name, label), members in silent.items():
        reasons = sum((group.dropped + group.failed for group in members), Counter())
        why = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common(3))
        none, clips = sum(group.per_clip[0] for group in members), sum(group.clips for group in members)
        splits = _and([split for split in SPLITS if any(group.split == split for group in members)])
        yield f"{splits}: {none} of the {clips} clips of {name} ({label}) gave no face ({why})"


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _named(counts: Counter[T], name: Callable[[T], str]) -> Distribution:
    named: Distribution = Counter()
    for value, count in counts.items():
        named[name(value)] += count
    return named


def _octave(width: int) -> str:
    low = 2 ** int(log2(max(width, 1)))
    return f"{low} to {2 * low} px"
