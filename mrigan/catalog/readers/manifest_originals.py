"""Fakes and their originals in a manifest: names become files, and families hold whatever is of one original.

A fake may name its original by another Unicode form, letter case or slash, or by its bare name; or name a fake (it is
then a fake of a fake, of the same family); or name what is not there: fakes of one missing original are one family over
data sets and compressions.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from mrigan.catalog.clips import ORIGINAL, Clip, clip_id
from mrigan.catalog.originals import Names, Parts, Union, folded, name_parts, one_original, spellings
from mrigan.catalog.readers.common import Problems

MAX_FITTING = 20  # files kept of those that one name fits


@dataclass(frozen=True)
class Listed:
    """A row: its clip, its original as it is named ("" = none), whether the file is there, and its line."""

    clip: Clip
    original: str
    there: bool
    line: int = 0


@dataclass
class Tied:
    """The clips that are there, with original and family.

    Attributes:
        unclear, absent: by data set, see `Making`.
    """

    clips: list[Clip] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unclear: dict[str, dict[str, list[str]]] = field(default_factory=lambda: defaultdict(dict))
    absent: dict[str, dict[str, list[str]]] = field(default_factory=lambda: defaultdict(dict))


def tie(rows: Mapping[str, Listed], base: Path) -> Tied:
    """Find the originals of all fakes, and the families.

    Args:
        rows: by path. base: the folder that paths start from.
    """
    made_of = _look_up(rows, base)
    families = _families(rows, made_of)
    ids = _family_ids(rows, made_of, families)
    tied, told = Tied(), Problems()
    for path, row in sorted(rows.items()):
        if not row.there:
            continue
        original = _first_original(path, rows, made_of)
        clip, family = row.clip, ids[families.root(_row(path))]
        if original is not None or family != clip.family:
            clip = replace(clip, original=original, family=family)
        fits = made_of.unclear.get(path)
        if fits:
            tied.unclear[clip.dataset][clip.family] = fits[:MAX_FITTING]
            told.add("fakes whose original fits several files (the audit fails)", f"{path}: {row.original}")
        elif path in made_of.files and rows[made_of.files[path]].clip.label == "fake":
            told.add("fakes of fakes (of the family of the first original)", path)
        elif path in made_of.files and made_of.files[path] != _plain(row.original):
            told.add(
                "originals found by another spelling or by their bare name", f"{row.original}: {made_of.files[path]}"
            )
        if path in made_of.missing and clip.family != _missing_id(row):
            names = tied.absent[clip.dataset].setdefault(clip.family, [])
            names += [row.original] if row.original not in names else []
        tied.clips.append(clip)
    tied.notes += [str(problem) for problem in told.counted()]
    return tied


@dataclass
class _MadeOf:
    """What the fakes, by path, were made from: a file of the list; a name that fits none; or one that fits several."""

    files: dict[str, str] = field(default_factory=dict)
    missing: dict[str, Parts] = field(default_factory=dict)
    unclear: dict[str, list[str]] = field(default_factory=dict)


def _look_up(rows: Mapping[str, Listed], base: Path) -> _MadeOf:
    names = Names(base)
    for path in rows:
        names.add(path)
    made_of = _MadeOf()
    for path, row in rows.items():
        if not row.original:
            continue
        fitting = names.fitting(row.original, path)
        fitting = [other for other in fitting if rows[other].clip.label == "real"] or fitting
        if len(fitting) == 1:
            made_of.files[path] = fitting[0]
        elif names.fitting(row.original) != [path]:  # else it names itself, and is as one that names none
            made_of.missing[path] = spellings(row.original)[-1] or (row.original,)
            if fitting:
                made_of.unclear[path] = sorted(fitting)
    return made_of


def _families(rows: Mapping[str, Listed], made_of: _MadeOf) -> Union:
    """The rows that belong together."""
    families = Union()
    for path, row in rows.items():
        clip = row.clip
        if clip.compression:
            parts = name_parts(path)
            without = _without_compression(parts, clip.compression)
            if without != parts:  # another compression of the same clip lies beside it
                families.join(_row(path), _key(without, clip.dataset))
        if path in made_of.files:
            families.join(_row(path), _row(made_of.files[path]))
        elif path in made_of.missing:
            name = made_of.missing[path]
            families.join(_row(path), _key(name))
            without = _without_compression(name, clip.compression)
            if without != name:
                families.join(_row(path), _key(without, clip.dataset))
    missing = {name: path for path, name in made_of.missing.items() if path not in made_of.unclear}
    pairs, unclear = one_original(missing)
    for a, b in pairs:
        families.join(_key(a), _key(b))
    _join_by_bare_name(families, rows, missing)
    for path, name in made_of.missing.items():
        if name in unclear:
            made_of.unclear.setdefault(path, ["/".join(other) for other in unclear[name]])
    return families


def _join_by_bare_name(families: Union, rows: Mapping[str, Listed], missing: Iterable[Parts]) -> None:
    """One missing original and one real clip of its file name, in another folder, may be the same: on one side."""
    reals: dict[str, list[str]] = defaultdict(list)
    absent: dict[str, list[Parts]] = defaultdict(list)
    for name in missing:
        absent[name[-1]].append(name)
    for path, row in rows.items() if absent else ():
        if row.clip.label == "real":
            reals[folded(path.rpartition("/")[2])].append(path)
    for last, names in absent.items():
        if len(reals[last]) == 1 and len({families.root(_key(name)) for name in names}) == 1:
            families.join(_row(reals[last][0]), _key(names[0]))


def _family_ids(rows: Mapping[str, Listed], made_of: _MadeOf, families: Union) -> dict[str, str]:
    """The id of each family: the first real clip's; else of an original that is missing; else the first fake's."""
    ids: dict[str, tuple[int, str]] = {}
    for path, row in rows.items():
        clip = row.clip
        if clip.label == "real":
            found = (0, clip.id)
        elif path in made_of.missing:
            found = (1, _missing_id(row))
        elif row.there:
            found = (2, clip.id)
        else:
            continue
        root = families.root(_row(path))
        ids[root] = min(ids.get(root, found), found)
    return {root: key for root, (_, key) in ids.items()}


def _first_original(path: str, rows: Mapping[str, Listed], made_of: _MadeOf) -> str | None:
    """The id of the real clip that a fake was made from, if need be over other fakes; None where it is not there."""
    seen = set()
    while path in made_of.files and path not in seen:
        seen.add(path)
        path = made_of.files[path]
    row = rows[path]
    return row.clip.id if seen and row.there and row.clip.label == "real" else None


def _without_compression(parts: Parts, compression: str) -> Parts:
    """A path as it would be in another compression: `x/c23/a_c23.mp4` is `x/a_.mp4`."""
    if not compression:
        return parts
    word = re.compile(rf"(?<![^\W_]){re.escape(folded(compression))}(?![^\W_])")
    return tuple(part for part in (word.sub("", part) for part in parts) if part)


def _missing_id(row: Listed) -> str:
    """What the original of a fake would be called."""
    return clip_id(row.clip.dataset, ORIGINAL, row.clip.compression, _plain(row.original))


def plain(path: str) -> str:
    """`./a//b.mp4` and `a/b.mp4` are one file; ".." stays, to be refused."""
    if "//" in path or "./" in path or path[-1:] in ("/", "."):
        return str(PurePosixPath(path))
    return path


def _plain(name: str) -> str:
    """A name as its family has always been called."""
    return plain(name.replace("\\", "/"))


def _row(path: str) -> str:
    return f"row {path}"


def _key(parts: Parts, dataset: str = "") -> str:
    """Of what is known by name; by name in one data set where that is given."""
    return f"name {dataset} {'/'.join(parts)}"
