"""inputs.parquet: size and time of each clip when the plan was made.

Shards of a data set beside shards of its re-encoded copy would be a set that nobody can make again, so a build with
changed clips is refused. The units keep fingerprints of the contents (`mrigan.packing.contents`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from mrigan.catalog import Clip
from mrigan.checked_table import CHECKED, read_checked_table, write_checked_table
from mrigan.errors import ShardError
from mrigan.packing.contents import is_content
from mrigan.progress import bar
from mrigan.regular import reason
from mrigan.shardset.layout import CHECKED as CHECKED_FORMAT
from mrigan.shardset.plan_file import Plan, Unit, clips_of
from mrigan.text import first_of

SCHEMA = pa.schema([("clip", pa.string()), ("bytes", pa.int64()), ("mtime_ns", pa.int64())])
METADATA = "mrigan.inputs"
ABSENT = (-1, -1)  # size and time of a clip that does not exist
MAX_NAMED = 5  # changed clips that an error names
THREADS = 16  # a network file system answers many requests at a time
CLIPS_A_TASK = 64  # that a thread looks at

Facts = tuple[int, int]  # bytes, time of change in ns


def record_inputs(
    plan: Plan, clips: Iterable[Clip] | None = None, made_of: Mapping[str, str | None] | None = None
) -> None:
    """Write size and time of the plan's clips as they are now; or of `clips` only, if the others are recorded already.

    Args:
        made_of: fingerprints by clip id, from the units' markers. A clip that is missing, or no longer that content, is
            recorded with the size of that content, so that it counts as changed.
    """
    existing = read_inputs(plan) if clips is not None else {}
    new = list(clips_of(plan.units) if clips is None else clips)
    facts = look(plan, new)
    for i, clip in enumerate(new if made_of else ()):
        content = (made_of or {}).get(clip.id)
        if content and not is_content(plan.path(clip), content, False):
            facts[i] = int(content.partition("-")[0]), 0
    rows = existing | {clip.id: fact for clip, fact in zip(new, facts, strict=True)}
    table = pa.table([list(rows), *map(list, zip(*rows.values(), strict=True))], schema=SCHEMA)
    write_checked_table(plan.layout.inputs, table, METADATA, {"plan_hash": plan.hash})


def read_inputs(plan: Plan) -> dict[str, Facts]:
    """The record, by clip id; `ABSENT` for a clip that did not exist.

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
        raise _damaged(plan, reason(error)) from None


def record_damage(plan: Plan, units: Iterable[Unit]) -> str:
    """Why the record cannot be trusted; "" if it can.

    Args:
        units: all units of the plan.
    """
    try:
        recorded, missing = set(read_inputs(plan)), 0
    except ShardError as error:
        return error.what
    for clip in clips_of(units):
        missing += clip.id not in recorded
        recorded.discard(clip.id)
    if missing or recorded:
        return f"{missing} clips of the plan are missing, {len(recorded)} clips are not in the plan"
    return ""


def is_recorded(plan: Plan) -> bool:
    """Whether there is a record that can be read."""
    try:
        read_inputs(plan)
    except ShardError:
        return False
    return True


def differ_from_record(plan: Plan) -> bool:
    """Whether any clip has another size or time than was recorded, or the record cannot be read."""
    if not is_recorded(plan):
        return True
    clips = list(clips_of(plan.units))
    return read_inputs(plan) != dict(zip((clip.id for clip in clips), look(plan, clips), strict=True))


def absent_inputs(plan: Plan) -> int:
    """The number of clips that did not exist when the plan was made."""
    return list(read_inputs(plan).values()).count(ABSENT)


def absent_now(plan: Plan, unit: Unit) -> list[Clip]:
    """The clips of a unit that do not exist."""
    clips = list(clips_of([unit]))
    return [clip for clip, facts in zip(clips, look(plan, clips), strict=True) if facts == ABSENT]


def refuse_changed_inputs(plan: Plan, units: Sequence[Unit], but: Collection[str] = ()) -> None:
    """Raise ShardError if a clip of `units` has another size than when the plan was made, naming the first ones.

    A clip that does not exist now is no change: it becomes a failed row. One that did not exist then is welcome, and so
    are the clips `but` (ids), whatever they are now.
    """
    recorded, clips = read_inputs(plan), [clip for clip in clips_of(units) if clip.id not in but]
    missing = [clip.id for clip in clips if clip.id not in recorded]
    if missing:
        raise _damaged(plan, f"{len(missing)} clips are missing, the first is {missing[0]}")
    changed = [f"{clip.path}: {recorded[clip.id][0]} → {size} bytes"
               for clip, (size, _) in zip(clips, look(plan, clips), strict=True)
               if -1 not in (size, recorded[clip.id][0]) and size != recorded[clip.id][0]]  # fmt: skip
    if changed:
        raise ShardError(
            f"{len(changed)} clips changed since the plan was made:\n    "
            + "\n    ".join(first_of(changed, MAX_NAMED)),
            where=", ".join(str(root) for root in plan.roots.values()),
            fix="put the old files back, or scan again and plan into a new folder; for a clip that had failed and is "
            "whole now: mrigan shards repair DIR",
        )


def changed_contents(plan: Plan, made_of: dict[str, str | None], whole: bool = False) -> list[Clip]:
    """Clips whose content is no longer what their samples were made of.

    Args:
        made_of: fingerprints by clip id, from the units' markers.
        whole: read every byte of every clip; else only clips whose size or time differs from the record are opened.
    """
    recorded = read_inputs(plan)
    clips = [clip for clip in clips_of(plan.units) if made_of.get(clip.id)]
    suspects = [clip for clip, facts in zip(clips, look(plan, clips), strict=True)
                if facts != ABSENT and (whole or facts != recorded.get(clip.id))]  # fmt: skip
    changed = []
    with bar("clips", len(suspects), unit="clips") as advance, ThreadPoolExecutor(THREADS) as pool:
        same = pool.map(lambda clip: is_content(plan.path(clip), made_of[clip.id] or "", whole), suspects)
        for clip, is_same in zip(suspects, same, strict=True):
            changed += [] if is_same else [clip]
            advance()
    return changed


def look(plan: Plan, clips: Sequence[Clip]) -> list[Facts]:
    """Size and time of each clip now."""
    chunks = [clips[start : start + CLIPS_A_TASK] for start in range(0, len(clips), CLIPS_A_TASK)]
    with ThreadPoolExecutor(THREADS) as pool:
        looked = pool.map(lambda chunk: [_facts(plan.path(clip)) for clip in chunk], chunks)
        return [facts for chunk in looked for facts in chunk]


def _facts(path: Path) -> Facts:
    try:
        about = os.stat(path)
    except OSError:
        return ABSENT
    return about.st_size, about.st_mtime_ns


def _damaged(plan: Plan, why: str) -> ShardError:
    return ShardError(
        f"the record of the clips is damaged: {why}",
        where=plan.layout.inputs,
        fix="plan again with the same catalog and settings, or mrigan shards repair DIR: it is recorded again",
    )
