"""What a build starts from, besides the settings: the clips as they lie there, and the libraries that make the pixels.

The plan records both. Shards of a re-encoded data set beside shards of the first one, or pictures of one OpenCV beside
those of another, would be a set that nobody can make again; so a build of changed inputs is refused. Size and time of
a clip are recorded by the plan (inputs.parquet), a fingerprint of its content by the unit that was made of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import av
import pyarrow as pa

from mrigan.catalog import Clip
from mrigan.checked_table import CHECKED, read_checked_table, write_checked_table
from mrigan.config import ShardsConfig, differences
from mrigan.errors import InputError, ShardError
from mrigan.files import sha256_file
from mrigan.mri import LEARNED
from mrigan.packing.journal import node_name
from mrigan.progress import bar
from mrigan.regular import reason
from mrigan.shardset.layout import CHECKED as CHECKED_FORMAT
from mrigan.shardset.layout import FORMAT
from mrigan.shardset.plan_file import Plan, Unit
from mrigan.video import fingerprint

SCHEMA = pa.schema([("clip", pa.string()), ("bytes", pa.int64()), ("mtime_ns", pa.int64())])
METADATA = "mrigan.inputs"
ABSENT = (-1, -1)
NAMED = 5  # changed clips that an error names
THREADS = 16  # a network file system answers many questions at a time
CHUNK = 64  # clips that a thread asks for at a time
PACKAGES = {
    "opencv": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
    "pyav": ("av",),
    "torch": ("torch",),
    "facenet-pytorch": ("facenet-pytorch",),
    "numpy": ("numpy",),
}
DALI = tuple(f"nvidia-dali-cuda{release}" for release in ("130", "120", "110"))


def libraries(config: ShardsConfig) -> dict[str, str]:
    """Versions of the libraries on this machine that decide pixels: decoding, finding, resizing, encoding.

    DALI is among them where it may be the decoder: a machine without it, or with another one, makes other pixels. A
    learned metric's networks, and that of the landmarks, run in float32, whose last bits follow the processor's
    instruction set: it is named, too.
    All else is the same on every processor (see `mrigan.mri.stored_mri` and `mrigan.video.mtcnn`).
    """
    video = config.video
    may_be_dali = video.decoder == "dali" or (video.decoder == "auto" and video.device != "cpu")
    packages = PACKAGES | ({"dali": DALI} if may_be_dali else {})
    found = {name: next(filter(None, map(_version, names)), "none") for name, names in packages.items()}
    codec = ".".join(str(n) for n in av.library_versions["libavcodec"])
    return found | {"ffmpeg": f"libavcodec {codec}"} | _instructions(config)


def _instructions(config: ShardsConfig) -> dict[str, str]:
    learned = config.mri.metric in LEARNED and config.video.device == "cpu"
    if not learned and config.faces.landmarks == "none":
        return {}
    import torch

    return {"instructions of the processor": torch.backends.cpu.get_cpu_capability()}


def refuse_older_format(plan: Plan) -> None:
    """Raise ShardError for a set of an earlier format: a unit made now may differ from those that are there."""
    if plan.format != FORMAT:
        raise ShardError(
            f"the set is of format {plan.format}: it is read, and no unit of it is made",
            where=plan.folder,
            fix=f"plan into a new folder, with pack.faces_dir={plan.faces}",
        )


def refuse_other_libraries(plan: Plan) -> None:
    """Raise ShardError where this machine's libraries are not the plan's, with each difference."""
    changed = differences(plan.libraries, libraries(plan.config))
    if changed:
        raise ShardError(
            "the plan was made with other libraries than this machine has, and their pixels differ:\n    "
            + "\n    ".join(changed),
            where=f"{plan.folder} on {node_name()}",
            fix="install the plan's versions here, or build on processors of the plan's kind; or plan again with what "
            "is here (the same folder as long as nothing is built in it, else a new one)",
        )


def record_inputs(
    plan: Plan, clips: Iterable[Clip] | None = None, made_of: Mapping[str, str | None] | None = None
) -> None:
    """Write size and time of the plan's clips as they are now; of `clips` only, where others are recorded already.

    Args:
        made_of: fingerprints by clip id, as the units' markers have them. A clip that is another file now, or is gone,
            is recorded with the size that it had, so that it counts as changed.
    """
    known = read_inputs(plan) if clips is not None else {}
    wanted = list(_clips(plan.units) if clips is None else clips)
    now = _look(plan, wanted)
    for i, clip in enumerate(wanted if made_of else ()):
        content = (made_of or {}).get(clip.id)
        if content and not is_content(plan.path(clip), content, False):
            now[i] = int(content.partition("-")[0]), 0
    rows = known | {clip.id: facts for clip, facts in zip(wanted, now, strict=True)}
    table = pa.table([list(rows), *map(list, zip(*rows.values(), strict=True))], schema=SCHEMA)
    write_checked_table(plan.layout.inputs, table, METADATA, {"plan_hash": plan.hash})


def read_inputs(plan: Plan) -> dict[str, tuple[int, int]]:
    """(bytes, time of change in ns) by clip id, (-1, -1) for a clip that was not there.

    Raises:
        ShardError: the file is missing, damaged, or was recorded for another plan.
    """
    try:
        columns, about = read_checked_table(plan.layout.inputs, METADATA)
        if about.get("plan_hash", plan.hash) != plan.hash:
            raise ValueError("it was recorded for another plan")
        if plan.format >= CHECKED_FORMAT and not about[CHECKED]:
            raise ValueError("it has no checksum")
        return dict(zip(columns["clip"], zip(columns["bytes"], columns["mtime_ns"], strict=True), strict=True))
    except (OSError, KeyError, ValueError) as error:
        raise _damaged_record(plan, reason(error)) from None


def record_damage(plan: Plan, units: Iterable[Unit]) -> str:
    """Why the record of the clips cannot be trusted; "" if it can.

    Args:
        units: all units of the plan.
    """
    try:
        recorded, missing = set(read_inputs(plan)), 0
    except ShardError as error:
        return error.what
    for clip in _clips(units):
        missing += clip.id not in recorded
        recorded.discard(clip.id)
    if missing or recorded:
        return f"{missing} clips of the plan are missing, {len(recorded)} clips are not in the plan"
    return ""


def _damaged_record(plan: Plan, why: str) -> ShardError:
    return ShardError(
        f"the record of the clips is damaged: {why}",
        where=plan.layout.inputs,
        fix="plan again with the same catalog and settings, or mrigan shards repair DIR: it is recorded again",
    )


def is_recorded(plan: Plan) -> bool:
    """Whether there is a record of the clips that can be read."""
    try:
        read_inputs(plan)
    except ShardError:
        return False
    return True


def differ_from_record(plan: Plan) -> bool:
    """Whether any clip has another size or time than was recorded, or the record cannot be read."""
    if not is_recorded(plan):
        return True
    clips = list(_clips(plan.units))
    return read_inputs(plan) != dict(zip((clip.id for clip in clips), _look(plan, clips), strict=True))


def absent_inputs(plan: Plan) -> int:
    """How many clips were not there when the plan was made."""
    return list(read_inputs(plan).values()).count(ABSENT)


def absent_now(plan: Plan, unit: Unit) -> list[Clip]:
    """The clips of a unit that are not there."""
    clips = list(_clips([unit]))
    return [clip for clip, facts in zip(clips, _look(plan, clips), strict=True) if facts == ABSENT]


def refuse_changed_inputs(plan: Plan, units: Sequence[Unit], but: Collection[str] = ()) -> None:
    """Raise ShardError where a clip of `units` has another size than when the plan was made, naming the first ones.

    A clip that is not there now is no change: it becomes a failed row. One that was not there then is welcome, and so
    are the clips `but` (ids), whatever they are now.
    """
    known, clips = read_inputs(plan), [clip for clip in _clips(units) if clip.id not in but]
    unrecorded = [clip for clip in clips if clip.id not in known]
    if unrecorded:
        raise _damaged_record(plan, f"{len(unrecorded)} clips are missing, the first is {unrecorded[0].id}")
    changed = [f"{clip.path}: {known[clip.id][0]} → {size} bytes"
               for clip, (size, _) in zip(clips, _look(plan, clips), strict=True)
               if -1 not in (size, known[clip.id][0]) and size != known[clip.id][0]]  # fmt: skip
    if changed:
        more = [f"… and {len(changed) - NAMED} more"] if len(changed) > NAMED else []
        raise ShardError(
            f"{len(changed)} clips changed since the plan was made:\n    " + "\n    ".join([*changed[:NAMED], *more]),
            where=", ".join(str(root) for root in plan.roots.values()),
            fix="put the old files back, or scan again and plan into a new folder; a clip that had failed and is whole "
            "now: mrigan shards repair DIR",
        )


def fingerprints(plan: Plan, unit: Unit, at: Callable[[str], None], unread: Container[str]) -> dict[str, str | None]:
    """Content of each clip of a unit as `size-digest-sha256`, None where it cannot be read: the digest is of the first
    and last 64 KiB, the SHA-256 of every byte, which the build has just read. Sets of before have no SHA-256.

    Args:
        at: is told the file that is opened next. unread: clips (ids) that are not opened.
    """
    found: dict[str, str | None] = {}
    for clip in _clips([unit]):
        at(os.fsdecode(plan.path(clip)))
        found[clip.id] = None if clip.id in unread else whole_fingerprint(plan.path(clip))
    return found


def whole_fingerprint(path: Path) -> str | None:
    """`size-digest-sha256` of a file, None where it cannot be read."""
    quick, sha256 = clip_fingerprint(path), _sha256(path)
    return f"{quick}-{sha256}" if quick and sha256 else None


def _sha256(path: Path) -> str | None:
    try:
        return sha256_file(path)
    except OSError:
        return None


def is_content(path: Path, content: str, whole: bool = False) -> bool:
    """Whether a file is still what a fingerprint was made of.

    Args:
        whole: compare every byte, where the fingerprint has their SHA-256; else size, first and last 64 KiB.
    """
    size, digest, *sha256 = content.split("-")
    return clip_fingerprint(path) == f"{size}-{digest}" and (not whole or not sha256 or _sha256(path) == sha256[0])


def clip_fingerprint(path: Path) -> str | None:
    """`size-digest` of a file, None where it cannot be read."""
    try:
        size, digest = fingerprint(path)
    except InputError:
        return None
    return f"{size}-{digest}"


def changed_contents(plan: Plan, made_of: dict[str, str | None], whole: bool = False) -> list[Clip]:
    """Clips whose content is no longer what their samples were made of.

    Args:
        made_of: fingerprints by clip id, as the units' markers have them.
        whole: read every byte of every clip; else only clips of another size or time than the plan's are opened.
    """
    known = read_inputs(plan)
    clips = [clip for clip in _clips(plan.units) if made_of.get(clip.id)]
    suspects = [clip for clip, facts in zip(clips, _look(plan, clips), strict=True)
                if facts != ABSENT and (whole or facts != known.get(clip.id))]  # fmt: skip
    with bar("clips", len(suspects), unit="clips") as advance, ThreadPoolExecutor(THREADS) as pool:
        same = []
        for one in pool.map(lambda clip: is_content(plan.path(clip), made_of[clip.id] or "", whole), suspects):
            same.append(one)
            advance()
        return [clip for clip, one in zip(suspects, same, strict=True) if not one]


def without_sha256(made_of: dict[str, str | None]) -> int:
    """Of how many clips only size, first and last 64 KiB are known."""
    return sum(content.count("-") == 1 for content in made_of.values() if content)


def _clips(units: Iterable[Unit]) -> Iterable[Clip]:
    return (clip for unit in units for family in unit.families for clip in family.clips)


def _look(plan: Plan, clips: Sequence[Clip]) -> list[tuple[int, int]]:
    chunks = [clips[start : start + CHUNK] for start in range(0, len(clips), CHUNK)]
    with ThreadPoolExecutor(THREADS) as pool:
        looked = pool.map(lambda chunk: [_facts(plan.path(clip)) for clip in chunk], chunks)
        return [facts for chunk in looked for facts in chunk]


def _facts(path: Path) -> tuple[int, int]:
    try:
        about = os.stat(path)
    except OSError:
        return ABSENT
    return about.st_size, about.st_mtime_ns


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
