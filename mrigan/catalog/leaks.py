"""Prove that no family, original, person, upload, group or file is in two splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mrigan.catalog.clips import SPLITS, Catalog, Clip
from mrigan.catalog.contents import same_contents
from mrigan.catalog.missing import missing_names

KINDS = ("unclear original", "family", "original", "target person", "donor person", "upload source", "group", "file",
         "content")  # fmt: skip


@dataclass(frozen=True)
class Leak:
    """A person, file or other thing that is in more than one split.

    Attributes:
        kind: one of `KINDS`. "unclear original": several files fit the name of an original, so its split is unknown.
            "target person": a person is seen in two splits. "donor person": a person is seen in one split, and the
            person's face is put into clips of another.
        key: the name of the thing.
        clips: split → ids of the clips in it, real clips first; in the order train, val, test.
        allowed: only a donor leaks, and the splits were drawn with relaxed donors.
        fits: the files that fit the name of an unclear original.
    """

    kind: str
    key: str
    clips: dict[str, list[str]]
    allowed: bool = False
    fits: tuple[str, ...] = ()

    def __str__(self) -> str:
        places = "; ".join(
            f"{split}: {ids[0]}" + (f" and {len(ids) - 1} more" if len(ids) > 1 else "")
            for split, ids in self.clips.items()
        )
        fits = f" fits {len(self.fits)} files ({', '.join(self.fits)}), and" if self.fits else ""
        return f"{self.kind} {self.key}{fits} is in {places}"


def audit(catalog: Catalog, sizes: Sequence[int] | None = None) -> list[Leak]:
    """All leaks between the catalog's splits; empty = no leak. Clips without a split are not compared.

    Args:
        sizes: sizes of the files (see `file_sizes`), to compare the contents too: files of equal size in two splits are
            read.
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
    """Name of a missing original → its fakes. `audit` cannot compare such an original with other clips."""
    unclear = {key for made in catalog.making.values() for key in made.unclear or ()}  # `audit` reports these
    names = {key: names for key, names in missing_names(catalog).items() if key not in unclear}
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
    return [Leak("unclear original", key, _by_split(fakes), fits=tuple(fits[key])) for key, fakes in named.items()]


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
        seen: (kind, field of the clips) of a leak where one name is seen in two splits. put_in: (kind, field) where it
            is seen in one split and put in in another.
        scopes: by data set, see `Making`. relaxed: scopes in which a leak of the second kind is allowed.
    """
    holders: list[tuple[str, Clip]] = []
    splits: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        for _, field in (seen, put_in):
            value = getattr(clip, field)
            for name in (value,) if isinstance(value, str) else value:
                if name:
                    key = f"{scopes[clip.dataset]}: {name}"
                    holders.append((key, clip))
                    if field == seen[1]:
                        splits[key].add(clip.split)
    for leak in _leaks(put_in[0], holders):
        if len(splits[leak.key]) > 1:
            yield replace(leak, kind=seen[0])
        else:
            yield replace(leak, allowed=leak.key.partition(": ")[0] in relaxed)


def _leaks(kind: str, holders: Iterable[tuple[str, Clip]]) -> list[Leak]:
    """A leak for each key that clips of more than one split have."""
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
    return [Leak(kind, key, _by_split(clips.values())) for key, clips in crossing.items()]


def _by_split(clips: Iterable[Clip]) -> dict[str, list[str]]:
    reals_first = sorted(clips, key=lambda clip: clip.label != "real")
    by_split = {split: [clip.id for clip in reals_first if clip.split == split] for split in SPLITS}
    return {split: ids for split, ids in by_split.items() if ids}
