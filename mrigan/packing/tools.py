"""What a worker uses for every family: detections on disk, crops, MRIs; and a clock for its stages."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mrigan.catalog import Clip, Family
from mrigan.config import ShardsConfig
from mrigan.errors import InputError
from mrigan.files import hash_json
from mrigan.imaging.picture import Picture, to_device
from mrigan.packing.plan import Plan
from mrigan.packing.treated import Treated
from mrigan.video import (
    Decoded,
    FaceDetector,
    FaceTable,
    Frame,
    FrameSource,
    cut_face,
    detector_of,
    faces_key,
    family_source,
    find_faces,
    is_picture,
    read_faces,
    read_still,
    sampling,
    write_faces,
)
from mrigan.video.landmarks import FaceMesh

T = TypeVar("T")
MAX_KEPT = 256 * 2**20  # bytes of frames kept from detection for cropping; a longer clip is decoded again


class Stages:
    """CPU-seconds of this process by stage; time in a stage within a stage counts for the inner one.

    Args:
        at: is called with the file that is worked on from now on.
    """

    def __init__(self, at: Callable[[str], None] = lambda file: None) -> None:
        self.at = at
        self.seconds: dict[str, float] = defaultdict(float)
        self._stack: list[str] = []
        self._mark = 0.0

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        self._switch()
        self._stack.append(stage)
        try:
            yield
        finally:
            self._switch()
            self._stack.pop()

    def each(self, stage: str, items: Iterable[T], file: str) -> Iterator[T]:
        """Yield `items`, which come from a file; the time to get them counts for `stage`."""
        iterator = iter(items)
        while True:
            self.at(file)
            with self(stage):
                item = next(iterator, self)
            if item is self:
                return
            yield item  # type: ignore[misc]

    def _switch(self) -> None:
        now = time.process_time()
        if self._stack:
            self.seconds[self._stack[-1]] += now - self._mark
        self._mark = now


class Tools:
    """The plan's settings, the detector, the detections on disk."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.config: ShardsConfig = plan.config

    @cached_property
    def detector(self) -> FaceDetector:
        return detector_of(self.config.faces, self.config.video.device)

    @cached_property
    def mesh(self) -> FaceMesh:
        return FaceMesh()

    def source(self, family: Family, stages: Stages) -> FrameSource:
        """The decoder for the clips of a family."""
        videos = (self.path(clip) for clip in family.clips if not self.is_still(clip, stages))
        with stages("decode"):
            return Timed(family_source(self.config.video, videos), stages)

    def path(self, clip: Clip) -> Path:
        return self.plan.path(clip)

    def is_still(self, clip: Clip, stages: Stages) -> bool:
        """Whether a clip is a picture."""
        path = os.fsdecode(self.path(clip))
        stages.at(path)
        return is_picture(path)

    def faces(
        self, clip: Clip, stages: Stages, treated: Treated, source: FrameSource
    ) -> tuple[FaceTable, Iterable[Frame]]:
        """The faces of a clip, from disk if they were detected before, and its frames with faces, as decoded.

        The faces of a still are not kept: a picture is read as fast as a table, and data sets have a million of them.

        Args:
            treated: the treatment of the frames in which faces are detected.
            source: the decoder.

        Raises:
            InputError: the clip cannot be read.
        """
        path, settings = self.path(clip), self.config.faces
        if self.is_still(clip, stages):
            with stages("decode"):
                still = self.placed(read_still(path))
            with stages("detect"):
                table = find_faces(treated.before([still]), self.detector)
            return table, [still] if table.faces else []
        key = faces_key(path, clip.id, settings, f"{source.name} on {self.config.video.device}")
        if treated.detected:
            key = hash_json([key, treated.detected.as_dict()])[: len(key)]
        file = self.plan.faces / f"{key}.parquet"
        kept: list[Frame] | None = None
        try:
            table = read_faces(file, key)
        except InputError:  # missing or damaged
            seen = _Kept(source.read(path, **sampling(path, settings)))
            with stages("detect"):
                table = find_faces(treated.before(seen), self.detector)
            if not table.note:  # a truncated clip may be whole the next time
                write_faces(file, table, key)
            kept = seen.frames
        frames = table.by_frame()
        if kept is not None:
            return table, [frame for frame in kept if frame.index in frames]
        return table, source.read(path, indices=frames)

    def placed(self, still: Frame) -> Frame:
        """A still on the device on which frames are processed."""
        if self.config.video.device == "cpu":
            return still
        return replace(still, image=to_device(still.image, self.config.video.device))

    def cut(self, image: Picture, box: Sequence[float], points: Sequence[Sequence[float]]) -> Picture:
        """The square face of the stored size; its five points are needed with `faces.align`."""
        return cut_face(image, box, self.config.faces, points)

    def landmarks(
        self, image: Picture, box: Sequence[float], stages: Stages, scale: Sequence[float] = (1.0, 1.0)
    ) -> Any:
        """The landmarks of a face as a sample's json has them; None if there are none, or none are requested.

        Args:
            scale: (x, y) of the px that are stored, over those of this picture.
        """
        if self.config.faces.landmarks != "mesh":
            return None
        with stages("landmarks"):
            return self.mesh(image, box).stored(scale)

    def mris(self, originals: Sequence[Picture], fakes: Sequence[Picture]) -> list[np.ndarray]:
        """The MRI images of pairs of faces, (size, size, 3) uint8 each."""
        import torch

        from mrigan.mri import stored_mri

        device = self.config.video.device
        a, b = (torch.stack([torch.as_tensor(face) for face in faces]).permute(0, 3, 1, 2).to(device)
                for faces in (originals, fakes))  # fmt: skip
        images = stored_mri(a, b, self.config.mri.metric, weights=self.config.mri.weights)
        return list(images.permute(0, 2, 3, 1).contiguous().cpu().numpy())


class Timed:
    """A source whose work counts for the stage `decode`."""

    def __init__(self, source: FrameSource, stages: Stages) -> None:
        self.source, self.stages = source, stages
        self.name, self.device = source.name, source.device

    def read(self, path: str | Path, every: int = 10, indices: Collection[int] | None = None) -> Iterator[Frame]:
        return self.stages.each("decode", self.source.read(path, every, indices), os.fsdecode(path))

    def decode(self, path: str | Path, needed: Callable[[int], bool] | None = None) -> Generator[Decoded, None, int]:
        frames = self.source.decode(path, needed)
        while True:
            self.stages.at(os.fsdecode(path))
            with self.stages("decode"):
                try:
                    decoded = next(frames)
                except StopIteration as end:
                    return end.value
            decoded.converter = self._timed(decoded.converter)
            yield decoded

    def _timed(self, converter: Callable[[Any], np.ndarray]) -> Callable[[Any], np.ndarray]:
        def convert(picture: Any) -> np.ndarray:
            with self.stages("decode"):
                return converter(picture)

        return convert


class _Kept:
    """Passes frames on, and keeps them unless they exceed `MAX_KEPT` together."""

    def __init__(self, frames: Iterator[Frame]) -> None:
        self.source = frames
        self.frames: list[Frame] | None = []

    def __iter__(self) -> Iterator[Frame]:
        size = 0
        for frame in self.source:
            size += frame.image.nbytes
            if size > MAX_KEPT:
                self.frames = None
            if self.frames is not None:
                self.frames.append(frame)
            yield frame
