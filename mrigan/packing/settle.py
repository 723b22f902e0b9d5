"""Which faces of a fake are stored, decided from the alignment of its whole clip, and what their rows add."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mrigan.catalog import Clip
from mrigan.shardset.rows import DROPPED, UNPROVEN, Row, row_of
from mrigan.shardset.tar import JSON, Member
from mrigan.video import Decision


@dataclass(frozen=True)
class Sample:
    """A row to be stored and its members, encoded, in the order of the tar."""

    row: Row
    members: list[Member]


def settled(items: Iterable[Sample | Row], clip: Clip, decision: Decision) -> Iterator[Sample | Row]:
    """The items of a fake, those of frames that show another moment as `misaligned`; unproven ones are marked.

    Args:
        items: in which a face's row names the fake's own frame.
    """
    shown = set(decision.targets.values())
    for item in items:
        row = item.row if isinstance(item, Sample) else item
        if row.frame >= 0 and row.reason in {"", "unchanged"} and row.frame not in shown:
            yield row_of(clip, DROPPED, "misaligned", frame=row.frame, person=row.person, time=row.time)
        elif isinstance(item, Sample) and not decision.proven:
            row.reason = f"alignment: {UNPROVEN}"
            yield Sample(row, [_marked(member) for member in item.members])
        else:
            yield item


def _marked(member: Member) -> Member:
    name, data = member
    if name != JSON:
        return member
    marked = json.loads(data) | {"alignment": UNPROVEN}
    return name, json.dumps(marked, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
