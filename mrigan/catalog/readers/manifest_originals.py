"""Find the originals of the fakes in a manifest, and build the families.

A fake may name its original with another Unicode form, letter case or slash, or without folders. It may name a fake:
then both are in one family. It may name a missing file: all fakes of one missing original are one family, over all data
sets and compressions.
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

MAX_FITTING = 20  # files that are stored for one unclear name


@dataclass(frozen=True)
class Listed:
    """A row: its clip, the name of its original ("" = none), whether its file exists, and its line number."""

    clip: Clip
    original: str
    exists: bool
    line: int = 0


@dataclass
class Tied:
    """The existing clips, with their originals and families.

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
    origins = _look_up(rows, base)
    families = _families(rows, origins)
    ids = _family_ids(rows, origins, families)
    tied, problems = Tied(), Problems()
    for path, row in sorted(rows.items()):
        if not row.exists:
            continue
        original = _first_original(path, rows, origins)
        clip, family = row.clip, ids[families.root(_row(path))]
        if original is not None or family != clip.family:
            clip = replace(clip, original=original, family=family)
        fits, file = origins.unclear.get(path), origins.files.get(path)
        if fits:
            tied.unclear[clip.dataset][clip.family] = fits[:MAX_FITTING]
            problems.add("fakes whose original fits several files (the audit fails)", f"{path}: {row.original}")
        elif file and rows[file].clip.label == "fake":
            problems.add("fakes of fakes (in the family of the first original)", path)
        elif file and file != _plain(row.original):
            problems.add("originals found by another spelling or without their folders", f"{row.original}: {file}")
        if path in origins.missing and clip.family != _missing_id(row):
            names = tied.absent[clip.dataset].setdefault(clip.family, [])
            names += [row.original] if row.original not in names else []
        tied.clips.append(clip)
    tied.notes += [str(problem) for problem in problems.counted()]
    return tied


@dataclass
class _Origins:
    """Path of a fake → its original: a listed file, the name of a missing file, or a name that fits several files."""

    files: dict[str, str] = field(default_factory=dict)
    missing: dict[str, Parts] = field(default_factory=dict)
    unclear: dict[str, list[str]] = field(default_factory=dict)


def _look_up(rows: Mapping[str, Listed], base: Path) -> _Origins:
    names = Names(base)
    for path in rows:
        names.add(path)
    origins = _Origins()
    for path, row in rows.items():
        if not row.original:
            continue
        fitting = names.fitting(row.original, path)
        fitting = [other for other in fitting if rows[other].clip.label == "real"] or fitting
        if len(fitting) == 1:
            origins.files[path] = fitting[0]
        elif names.fitting(row.original) != [path]:  # a fake that names itself names no original
            origins.missing[path] = spellings(row.original)[-1] or (row.original,)
            if fitting:
                origins.unclear[path] = sorted(fitting)
    return origins


def _families(rows: Mapping[str, Listed], origins: _Origins) -> Union:
    """The groups of rows and names that belong to one original."""
    families = Union()
    for path, row in rows.items():
        clip = row.clip
        if clip.compression:
            parts = name_parts(path)
            without = _without_compression(parts, clip.compression)
            if without != parts:  # joins the compressions of one clip
                families.join(_row(path), _key(without, clip.dataset))
        if path in origins.files:
            families.join(_row(path), _row(origins.files[path]))
        elif path in origins.missing:
            name = origins.missing[path]
            families.join(_row(path), _key(name))
            without = _without_compression(name, clip.compression)
            if without != name:
                families.join(_row(path), _key(without, clip.dataset))
    missing = {name for path, name in origins.missing.items() if path not in origins.unclear}
    pairs, unclear = one_original(missing)
    for a, b in pairs:
        families.join(_key(a), _key(b))
    _join_by_bare_name(families, rows, missing)
    for path, name in origins.missing.items():
        if name in unclear:
            origins.unclear.setdefault(path, ["/".join(other) for other in unclear[name]])
    return families


def _join_by_bare_name(families: Union, rows: Mapping[str, Listed], missing: Iterable[Parts]) -> None:
    """Join a missing original with the only real clip of its file name in another folder: they may be the same."""
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


def _family_ids(rows: Mapping[str, Listed], origins: _Origins, families: Union) -> dict[str, str]:
    """The id of each family: that of its first real clip; else of a missing original; else of its first fake."""
    ids: dict[str, tuple[int, str]] = {}
    for path, row in rows.items():
        clip = row.clip
        if clip.label == "real":
            candidate = (0, clip.id)
        elif path in origins.missing:
            candidate = (1, _missing_id(row))
        elif row.exists:
            candidate = (2, clip.id)
        else:
            continue
        root = families.root(_row(path))
        ids[root] = min(ids.get(root, candidate), candidate)
    return {root: key for root, (_, key) in ids.items()}


def _first_original(path: str, rows: Mapping[str, Listed], origins: _Origins) -> str | None:
    """The id of the real clip that a fake was made from, through other fakes if needed; None if it is missing."""
    seen = set()
    while path in origins.files and path not in seen:
        seen.add(path)
        path = origins.files[path]
    row = rows[path]
    return row.clip.id if seen and row.exists and row.clip.label == "real" else None


def _without_compression(parts: Parts, compression: str) -> Parts:
    """A path without the name of the compression: `x/c23/a_c23.mp4` becomes `x/a_.mp4`."""
    if not compression:
        return parts
    word = re.compile(rf"(?<![^\W_]){re.escape(folded(compression))}(?![^\W_])")
    return tuple(part for part in (word.sub("", part) for part in parts) if part)


def _missing_id(row: Listed) -> str:
    """The id that the missing original of a fake would have."""
    return clip_id(row.clip.dataset, ORIGINAL, row.clip.compression, _plain(row.original))


def plain(path: str) -> str:
    """`./a//b.mp4` as `a/b.mp4`; ".." stays, and is refused later."""
    if "//" in path or "./" in path or path[-1:] in ("/", "."):
        return str(PurePosixPath(path))
    return path


def _plain(name: str) -> str:
    """A name as it stands in the id of its family."""
    return plain(name.replace("\\", "/"))


def _row(path: str) -> str:
    return f"row {path}"


def _key(parts: Parts, dataset: str = "") -> str:
    """The key of a name, or of a name in one data set."""
    return f"name {dataset} {'/'.join(parts)}"
