"""One worker of `mrigan shards landmarks`: the landmarks of a unit's faces, from the pixels of its clips."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from mrigan.catalog import Clip
from mrigan.errors import InputError, ShardError
from mrigan.foreign_files import parse_json
from mrigan.imaging.picture import Picture
from mrigan.packing.contents import is_content
from mrigan.packing.plan import Plan
from mrigan.packing.unit import UnitTask, use_one_thread
from mrigan.shardset.landmarks import NO_FACE, FoundLandmarks, read_landmarks, write_landmarks
from mrigan.shardset.marker import check_rows
from mrigan.shardset.plan_file import clips_of
from mrigan.shardset.rows import read_rows, stored_of
from mrigan.video import DecoderError, Frame, family_source, is_picture, read_still
from mrigan.video.dlib_points import DlibPoints
from mrigan.video.landmarks import FaceMesh
from mrigan.workers.file_clock import FileClock

log = logging.getLogger(__name__)

TREATED = "treated"  # the frame was augmented after decoding: its pixels are in no file
FINAL = ("", NO_FACE, TREATED)  # reasons that another look does not change
Find = Callable[[Picture, Sequence[float]], "np.ndarray | None"]


def _mesh() -> Find:
    mesh = FaceMesh()

    def find(image: Picture, box: Sequence[float]) -> np.ndarray | None:
        stored = mesh(image, box).stored()
        return None if stored is None else np.array(stored, np.float32)

    return find


FINDERS: dict[str, Callable[[], Find]] = {"mesh": _mesh, "dlib": DlibPoints}


class LandmarkWorker:
    """Finds the landmarks of units: one thread, the network in memory."""

    def __init__(self, plan: Plan, source: str) -> None:
        use_one_thread()
        self.plan, self.source, self.find = plan, source, FINDERS[source]()

    def __call__(self, task: UnitTask, report: Callable[[Any], None]) -> tuple[Counter[str], int]:
        """A unit's samples by reason ("" = found), and the number of faces that were looked at."""
        plan, unit = self.plan, task.unit
        made_of = check_rows(plan, unit.name).inputs
        rows = sorted(stored_of(read_rows(plan.layout.unit_rows(unit.name))).to_pylist(), key=lambda row: row["clip"])
        path = plan.layout.unit_landmarks(self.source, unit.name)
        found = self._earlier(path)
        todo = [row for row in rows if row["key"] not in found or found[row["key"]].reason not in FINAL]
        clips, slow = {clip.id: clip for clip in clips_of([unit])}, dict(task.slow)
        with FileClock(report) as clock:
            for clip, of_clip in groupby(todo, key=lambda row: row["clip"]):
                if clip in slow:
                    found |= {row["key"]: FoundLandmarks(None, f"unreadable: {slow[clip]}") for row in of_clip}
                else:
                    clock.at(os.fsdecode(plan.path(clips[clip])))
                    found |= self._of_clip(clips[clip], list(of_clip), made_of.get(clip))
        if todo:
            write_landmarks(path, {row["key"]: found[row["key"]] for row in rows}, plan.hash)
        return Counter(found[row["key"]].reason for row in rows), len(todo)

    def _earlier(self, path: Path) -> dict[str, FoundLandmarks]:
        try:
            return read_landmarks(path, self.plan.hash)
        except ShardError as error:
            log.warning("%s; they are found again", error.what)
            return {}

    def _of_clip(self, clip: Clip, rows: list[dict[str, Any]], content: str | None) -> dict[str, FoundLandmarks]:
        path = self.plan.path(clip)
        if not path.exists():
            return {row["key"]: FoundLandmarks(None, "missing_clip") for row in rows}
        if content is None or not is_content(path, content):
            return {row["key"]: FoundLandmarks(None, "changed_clip") for row in rows}
        found = {row["key"]: FoundLandmarks(None, "missing_frame") for row in rows}
        try:
            for frame in self._frames(path, {row["frame"] for row in rows}):
                here = [row for row in rows if row["frame"] == frame.index]
                found |= {row["key"]: self._of_face(frame.image, row) for row in here}
        except (InputError, DecoderError) as error:
            unread = FoundLandmarks(None, f"unreadable: {error.what}")
            found |= {key: unread for key, one in found.items() if one.reason == "missing_frame"}
        return found

    def _frames(self, path: Path, indices: set[int]) -> Iterable[Frame]:
        if is_picture(os.fsdecode(path)):
            return [read_still(path)]
        return family_source(self.plan.config.video, [path]).read(path, indices=indices)

    def _of_face(self, image: Picture, row: dict[str, Any]) -> FoundLandmarks:
        about = self._json(row)
        if about.get("augment"):
            return FoundLandmarks(None, TREATED)
        if list(image.shape[1::-1]) != about["frame_size"]:
            return FoundLandmarks(None, "changed_clip")
        points = self.find(image, about["box"])
        return FoundLandmarks(None, NO_FACE) if points is None else FoundLandmarks(points.astype(np.float32))

    def _json(self, row: dict[str, Any]) -> dict[str, Any]:
        path = self.plan.layout.shard(row["shard"])
        try:
            with path.open("rb") as file:
                file.seek(row["json_offset"])
                about: dict[str, Any] = parse_json(file.read(row["json_size"]))
            about["box"], about["frame_size"]
            return about
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ShardError(f"the json of sample {row['key']} cannot be read: {error}", where=path,
                             fix=f"mrigan shards repair {self.plan.folder}") from None  # fmt: skip
