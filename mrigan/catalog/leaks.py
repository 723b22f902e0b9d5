"""Proof that no family, original, person, upload, group or file is on two sides of a split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mrigan.catalog.clips import SPLITS, Catalog, Clip
from mrigan.catalog.contents import same_contents
from mrigan.catalog.missing import missing_names

KINDS = (
    "unclear original",
    "family",
    "original",
    "target person",
    "donor person",
    "upload source",
    "group",
    "file",
    "content",
)


@dataclass(frozen=True)
class Leak:
    """Something that is on more than one side.

    Attributes:
        kind: one of `KINDS`. Several files fit the name of an unclear original: nobody can tell whether it is on the
            side of its fakes. A target person is seen on two sides; a donor person is seen on one, and their face is
            put into clips of another.
        key: which one.
        clips: for each of its splits, in the order train, val, test, the ids of the clips there, reals first.
        allowed: donors were relaxed when the splits were drawn, and nothing but a donor leaks here.
        fits: of an unclear original, the files.
    """

    kind: str
    key: str
    clips: dict[str, list[str]]
    allowed: bool = False
    fits: tuple[str, ...] = ()

    def __str__(self) -> str:
        sides = "; ".join(
            f"{split}: {ids[0]}" + (f" and {len(ids) - 1} more" if len(ids) > 1 else "")
            for split, ids in self.clips.items()
        )
        fits = f" fits {len(self.fits)} files ({', '.join(self.fits)}), and" if self.fits else ""
        return f"{self.kind} {self.key}{fits} is in {sides}"


def audit(catalog: Catalog, sizes: Sequence[int] | None = None) -> list[Leak]:
    """Every leak of the catalog's splits; empty = clean. Clips without a split are on no side.

    Args:
        sizes: of the files (see `file_sizes`), to compare their contents too: those of one size on two sides are read.
    """
    clips = [clip for clip in catalog.clips if clip.split]
    roots = {dataset: str(root) for dataset, root in catalog.roots.items()}
    scopes = {dataset: catalog.scope(dataset) for dataset in roots}
    relaxed = {scopes[dataset] for dataset, made in catalog.making.items() if made.relax_donors}
    leaks: list[Leak] = _unclear(catalog, clips)
    leaks += _leaks("family", ((clip.family, clip) for clip in clips))
    leaks += _leaks("original", _originals(clips))
    leaks += _crossing(clips, ("target person", "targets"), ("donor person", "donors"), scopes, relaxed)
    leaks += _crossing(clips, ("upload source", "source"), ("upload source", "donor_sources"), scopes, relaxed)
    leaks += _leaks("group", ((f"{scopes[clip.dataset]}: {clip.group}", clip) for clip in clips if clip.group))
    leaks += _leaks("file", ((f"{roots[clip.dataset]}/{clip.path}", clip) for clip in clips))
    if sizes is not None:
        leaks += _leaks("content", same_contents(catalog, sizes))
    return sorted(leaks, key=lambda leak: (KINDS.index(leak.kind), leak.key))


def missing_originals(catalog: Catalog) -> dict[str, list[Clip]]:
    """The fakes whose original is named and not there, by that name: what it shows, nobody can compare."""
    unclear = {key for made in catalog.making.values() for key in made.unclear or ()}  # a leak of its own
    names = {key: found for key, found in missing_names(catalog).items() if key not in unclear}
    missing: dict[str, list[Clip]] = defaultdict(list)
    for clip in catalog.clips:
        if clip.label == "fake" and clip.original is None and clip.family in names:
            named = ", ".join(names[clip.family])
            missing[clip.family if clip.family.endswith(named) else f"{named} (of family {clip.family})"].append(clip)
    return {key: missing[key] for key in sorted(missing)}


def _unclear(catalog: Catalog, clips: list[Clip]) -> list[Leak]:
    fits = {key: paths for made in catalog.making.values() for key, paths in (made.unclear or {}).items()}
    named: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips if fits else ():
        if clip.family in fits and clip.label == "fake" and clip.original is None:
            named[clip.family].append(clip)
    return [Leak("unclear original", key, _by_side(found), fits=tuple(fits[key])) for key, found in named.items()]


def _originals(clips: list[Clip]) -> Iterator[tuple[str, Clip]]:
    for clip in clips:
        if clip.original is not None:
            yield clip.original, clip
        elif clip.label == "real":
            yield clip.id, clip


def _crossing(
    clips: list[Clip], seen: tuple[str, str], put_in: tuple[str, str], scopes: Mapping[str, str], relaxed: set[str]
) -> Iterator[Leak]:
    """Leaks of people, or of their uploads.

    Args:
        seen: the kind of leak where the same is seen on two sides, and the clips' field. put_in: the kind where it is
            seen, or put in, on two sides, and the field.
        scopes: by data set, see `Making`. relaxed: scopes in which the latter is allowed.
    """
    holders: list[tuple[str, Clip]] = []
    sides: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        for _, field in (seen, put_in):
            value = getattr(clip, field)
            for name in (value,) if isinstance(value, str) else value:
                if name:
                    key = f"{scopes[clip.dataset]}: {name}"
                    holders.append((key, clip))
                    if field == seen[1]:
                        sides[key].add(clip.split)
    for leak in _leaks(put_in[0], holders):
        if len(sides[leak.key]) > 1:
            yield replace(leak, kind=seen[0])
        else:
            yield replace(leak, allowed=leak.key.partition(": ")[0] in relaxed)


def _leaks(kind: str, holders: Iterable[tuple[str, Clip]]) -> list[Leak]:
    """The keys that clips on more than one side hold."""
    first: dict[str, str] = {}
    crossing: dict[str, dict[str, Clip]] = {}
    held: list[tuple[str, Clip]] = []
    for key, clip in holders:
        held.append((key, clip))
        if first.setdefault(key, clip.split) != clip.split:
            crossing[key] = {}
    for key, clip in held if crossing else ():
        if key in crossing:
            crossing[key][clip.id] = clip
    return [Leak(kind, key, _by_side(clips.values())) for key, clips in crossing.items()]


def _by_side(clips: Iterable[Clip]) -> dict[str, list[str]]:
    reals_first = sorted(clips, key=lambda clip: clip.label != "real")
    sides = {split: [clip.id for clip in reals_first if clip.split == split] for split in SPLITS}
    return {split: ids for split, ids in sides.items() if ids}
