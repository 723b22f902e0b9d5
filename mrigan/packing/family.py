"""One family: faces are found once, on the original, and cut at the same place out of every fake that is aligned to it.

Kind `pairs`: a real sample is a face of the original with a black MRI, a fake one is a fake's face with the MRI of both
faces, computed from decoded frames before any JPEG (MRI-GAN, sections 3 and 4.4). Kind `faces`: every face without an
MRI; a fake that is not aligned throughout, or has no original, is searched for faces by itself.

The original may be of another split than its fakes (`Family.reference`): then it is compared with, and not stored.

A clip may be a still: a real face as any other (FFHQ, FDF), or an original with stills that were made of it. What the
recipe does to a family is in `treated`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mrigan.catalog import Clip, Family
from mrigan.errors import InputError
from mrigan.imaging.coordinates import Box
from mrigan.imaging.encoding import encode
from mrigan.imaging.picture import Picture, to_host
from mrigan.packing.settle import Sample, settled
from mrigan.packing.still_families import MIXED
from mrigan.packing.tools import Stages, Timed, Tools
from mrigan.packing.treated import Points, Treated, moved_points
from mrigan.shardset.codecs import black
from mrigan.shardset.rows import STORED, Row, row_of, sample_json
from mrigan.shardset.tar import FACE, JSON, Member, mri_member
from mrigan.video import (
    Decision,
    DecoderError,
    Face,
    FaceTable,
    FakeClip,
    FakeStill,
    Frame,
    FrameSource,
    Geometry,
    Paired,
    changed,
    follow,
    pyav_source,
)
from mrigan.video.geometry import one_is_grey

log = logging.getLogger(__name__)

BATCH = 8  # pairs in one computation of MRIs


def family_samples(family: Family, tools: Tools, stages: Stages) -> list[Sample | Row]:
    """Everything that becomes of a family: samples to store, and rows about what is not stored.

    In the order of clips, frames, persons. No file that is damaged raises; it becomes a row.
    """
    source = tools.source(family, stages)
    try:
        work = _Family(family, tools, stages, source)
        work.run()
    except DecoderError as error:
        if tools.config.video.decoder == "dali":
            raise
        log.warning("family %s is decoded by PyAV: %s (%s)", family.id, error.what, error.where)
        work = _Family(family, tools, stages, Timed(pyav_source(tools.config.video), stages))
        work.run()
    place = {clip.id: i for i, clip in enumerate(family.clips)}
    return sorted(work.items, key=lambda item: _place(item, place))


def _place(item: Sample | Row, clips: dict[str, int]) -> tuple[int, int, int, str]:
    row = item.row if isinstance(item, Sample) else item
    return clips[row.clip], row.frame, row.person, row.reason


@dataclass(frozen=True)
class _Pair:
    """A fake's face, the two faces whose difference is its MRI, and what is stored about it."""

    row: Row
    fake_face: Picture
    mri_of: tuple[Picture, Picture]  # the original's face, and the fake's as it is compared with it
    about: dict[str, Any]


@dataclass
class _Fake:
    """A fake on its way along the original: its items are kept back until it is known to be aligned."""

    clip: Clip
    frames: FakeClip | FakeStill
    path: Path
    items: list[Sample | Row] = field(default_factory=list)
    waiting: list[_Pair] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    reasons: set[str] = field(default_factory=set)
    decision: Decision | None = None  # what the clip as a whole tells; of a still there is nothing to tell


class _Family:
    def __init__(self, family: Family, tools: Tools, stages: Stages, source: FrameSource) -> None:
        self.family, self.tools, self.stages, self.source = family, tools, stages, source
        self.pairs = tools.config.pack.kind == "pairs"
        self.treated = Treated.of(family, tools.config, stages)
        self.items: list[Sample | Row] = []
        self._cut_of: Frame | None = None  # the last one, and the faces that were cut out of it
        self._cuts: dict[tuple[Geometry, Box], Any] = {}

    def run(self) -> None:
        original = self.family.original
        if original is None:
            self._without_original("missing_original")
            return
        try:
            table, frames = self.tools.faces(original, self.stages, self.treated, self.source)
        except InputError as error:
            self.items.append(row_of(original, "failed", f"unreadable: {error.what}"))
            self._without_original("missing_original")
            return
        if table.note:
            self.items.append(row_of(original, "failed", f"unreadable: {table.note}"))
        if not table.faces:
            self.items += [] if self.family.reference else [row_of(original, "dropped", "no_face")]
            self._without_original("no_face")
            return
        still = self.tools.is_still(original, self.stages)
        fakes = [clip for clip in self.family.fakes if self.tools.is_still(clip, self.stages) == still]
        if still:
            (frame,) = frames
            beside = [self._still(clip, frame, table) for clip in fakes]
            self._follow(original, table, [frame], beside)
            for fake in beside:
                self._finish(fake)
        else:
            self._clips(original, table, frames, fakes)
        self._without_counterpart([clip for clip in self.family.fakes if clip not in fakes], MIXED[still])

    def _clips(self, original: Clip, table: FaceTable, frames: Iterable[Frame], fakes: list[Clip]) -> None:
        """The fakes that are clips, as their original is."""
        settings, by_frame = self.tools.config.pairs, table.by_frame()
        paths = [self.tools.path(clip) for clip in fakes]
        boxes = {index: [face.box for face in faces] for index, faces in by_frame.items()}
        with follow(paths, settings, by_frame, self.source, boxes=boxes) as clips:
            along = [_Fake(clip, each, each.path) for clip, each in zip(fakes, clips, strict=True)]
            self._follow(original, table, frames, along)
            for fake, each in zip(along, clips, strict=True):
                with self.stages("pair"):
                    fake.decision = each.decide()
        for fake in along:
            if fake.decision is not None and not fake.decision.moved:
                self._finish(fake)
        if moved := [(fake, fake.decision) for fake in along if fake.decision is not None and fake.decision.moved]:
            self._again(original, table, frames, moved)

    def _again(
        self, original: Clip, table: FaceTable, frames: Iterable[Frame], moved: list[tuple[_Fake, Decision]]
    ) -> None:
        """Pair the fakes that show the original's moments at other indices; what was made of them is given up."""
        by_frame = table.by_frame()
        seen = frames if isinstance(frames, list) else self.source.read(self.tools.path(original), indices=by_frame)
        paths, decisions = [fake.path for fake, _ in moved], [decision for _, decision in moved]
        with follow(paths, self.tools.config.pairs, by_frame, self.source, decisions=decisions) as clips:
            along = [
                _Fake(fake.clip, each, each.path, decision=decision)
                for (fake, decision), each in zip(moved, clips, strict=True)
            ]
            try:
                for frame in seen:
                    self._alongside(frame, along, by_frame[frame.index])
            except InputError:
                log.debug("%s: breaks off, as the first pass has said", original.id)
        for fake, (earlier, _) in zip(along, moved, strict=True):
            fake.reasons |= {reason for reason in earlier.reasons if reason.startswith("unreadable")}
            self._finish(fake)

    def _still(self, clip: Clip, frame: Frame, table: FaceTable) -> _Fake:
        """A fake's still beside its original's."""
        path, whole = self.tools.path(clip), Geometry((frame.image.shape[1], frame.image.shape[0]))
        boxes = [self.treated.boxes(face.box, whole, frame)[0] for face in table.faces]
        pairs = self.tools.config.pairs
        return _Fake(clip, FakeStill(path, pairs, [box for box in boxes if box], self.tools.placed), path)

    def _without_original(self, reason: str) -> None:
        """Fakes that have nothing to be compared with."""
        self._without_counterpart(self.family.fakes, reason)

    def _without_counterpart(self, fakes: Iterable[Clip], reason: str) -> None:
        for clip in fakes:
            if self.pairs:
                self.items.append(row_of(clip, "dropped", reason))
            else:
                self._alone(clip)

    def _alone(self, clip: Clip) -> None:
        """Store the faces of a clip that is searched by itself."""
        broken = False
        try:
            table, frames = self.tools.faces(clip, self.stages, self.treated, self.source)
            if table.note:
                broken = True
                self.items.append(row_of(clip, "failed", f"unreadable: {table.note}"))
            if not table.faces:
                self.items.append(row_of(clip, "dropped", "no_face"))
            by_frame = table.by_frame()
            for frame in frames:
                self.items += [self._found(clip, frame, face) for face in by_frame[frame.index]]
        except InputError as error:
            failed = row_of(clip, "failed", f"unreadable: {error.what}")
            self.items += [failed] if not broken else []

    def _follow(self, original: Clip, table: FaceTable, frames: Iterable[Frame], fakes: list[_Fake]) -> None:
        by_frame = table.by_frame()
        try:
            for frame in frames:
                if not self.family.reference:
                    self.items += [self._found(original, frame, face) for face in by_frame[frame.index]]
                self._alongside(frame, fakes, by_frame[frame.index])
        except InputError as error:
            if not table.note:  # else it has its row
                self.items.append(row_of(original, "failed", f"unreadable: {error.what}"))

    def _alongside(self, frame: Frame, fakes: list[_Fake], faces: list[Face]) -> None:
        for fake in fakes:
            self.stages.at(os.fsdecode(fake.path))
            with self.stages("pair"):
                paired = fake.frames.pair(frame)
            self._pair(fake, frame, paired, faces)

    def _found(self, clip: Clip, frame: Frame, face: Face) -> Sample | Row:
        """A face as it was detected in this clip: real, or of a fake that is searched by itself."""
        row = row_of(clip, STORED, frame=frame.index, person=face.person, time=frame.time)
        image, seen = self.treated.image(frame), self.treated.face(face, frame.image)
        if seen is None:
            row.status, row.reason = "dropped", "outside_frame"
            return row
        about = {"box": seen.box, "frame_size": image.shape[1::-1], "prob": face.prob,
                 "augment": self.treated.record(frame.index)}  # fmt: skip
        with self.stages("crop"):
            picture = self.tools.cut(image, seen.box, seen.points)
        about["landmarks"] = self.tools.landmarks(image, seen.box, self.stages)
        if not self.pairs:
            return self._sample(clip, row, picture, ("none", None), about)
        row.mri_mean = 0.0
        pack, size = self.tools.config.pack, self.tools.config.faces.size
        mri = black(size, pack.mri_format, pack.jpeg_quality)
        return self._sample(clip, row, picture, ("black", mri), about)

    def _pair(self, fake: _Fake, frame: Frame, paired: Paired, faces: list[Face]) -> None:
        """What the fake shows of the original's faces in one frame."""
        if paired.reason:
            fake.reasons.add(paired.reason)
        if paired.reason == "misaligned":
            fake.items += [row_of(fake.clip, "dropped", "misaligned", frame=paired.index, person=face.person,
                                  time=paired.time) for face in faces]  # fmt: skip
        if paired.geometry is None or paired.original is None or paired.fake is None:
            return
        treated, clean_pair = self.treated.pair(frame, paired), self.treated.mri_pair(frame, paired)
        for face in faces:
            row = row_of(fake.clip, STORED, frame=paired.fake_index, person=face.person, time=paired.fake_time)
            clean, box = self.treated.boxes(face.box, paired.geometry, frame)
            if clean is None or box is None or row.key in fake.keys:
                # misaligned: one frame of the fake for two of the original
                reason = "outside_window" if clean is None else "outside_frame" if box is None else "misaligned"
                fake.items.append(row_of(fake.clip, "dropped", reason, frame=paired.index, person=face.person,
                                         time=paired.time))  # fmt: skip
                continue
            fake.keys.add(row.key)
            with self.stages("crop"):
                points = moved_points(face, box)
                ours = self._ours(frame, treated[0], paired.geometry, box, points)
                theirs = self.tools.cut(treated[1], box, points)
                differs = changed(ours, theirs, self.tools.config.pairs)
                if differs and self.treated.treatment is not None:  # a treatment may enlarge what a codec did
                    before = [self.tools.cut(picture, clean, points) for picture in (paired.original, paired.fake)]
                    differs = changed(before[0], before[1], self.tools.config.pairs)
            moved = fake.decision is not None and fake.decision.inside  # only the faces were alike, and this one is not
            if not differs or moved or (self.pairs and one_is_grey(ours, theirs)):
                row.status = "dropped"
                row.reason = "unchanged" if not differs else "misaligned" if moved else "colourless"
                fake.items.append(row)
                continue
            native, size = self.treated.native(box, paired.geometry.size, paired.fake_size)
            about = {"box": native, "frame_size": size, "prob": face.prob,
                     "augment": self.treated.record(paired.index, mri=self.pairs)}  # fmt: skip
            h, w = treated[1].shape[:2]
            about["landmarks"] = self.tools.landmarks(treated[1], box, self.stages, (size[0] / w, size[1] / h))
            compared = ours, theirs
            if self.pairs and clean_pair is not None:
                with self.stages("crop"):
                    compared = self.tools.cut(clean_pair[0], box, points), self.tools.cut(clean_pair[1], box, points)
            fake.waiting.append(_Pair(row, theirs, compared, about))
        if len(fake.waiting) >= BATCH:
            self._store(fake)

    def _ours(self, frame: Frame, image: Any, geometry: Geometry, box: Box, points: Points) -> Any:
        """The original's face, cut once for all fakes that show it alike."""
        if self._cut_of is not frame:
            self._cut_of, self._cuts = frame, {}
        if (geometry, box) not in self._cuts:
            self._cuts[geometry, box] = self.tools.cut(image, box, points)
        return self._cuts[geometry, box]

    def _store(self, fake: _Fake) -> None:
        """Encode the faces that wait, with their MRIs."""
        waiting, fake.waiting = fake.waiting, []
        if not self.pairs:
            fake.items += [self._sample(fake.clip, p.row, p.fake_face, ("none", None), p.about) for p in waiting]
            return
        pack = self.tools.config.pack
        for start in range(0, len(waiting), BATCH):
            chunk = waiting[start : start + BATCH]
            with self.stages("mri"):
                mris = self.tools.mris([p.mri_of[0] for p in chunk], [p.mri_of[1] for p in chunk])
            for pair, mri in zip(chunk, mris, strict=True):
                pair.row.mri_mean = float(mri.mean())
                with self.stages("encode"):
                    data = encode(mri, pack.mri_format, pack.jpeg_quality)
                metric = self.tools.config.mri.metric
                fake.items.append(self._sample(fake.clip, pair.row, pair.fake_face, (metric, data), pair.about))

    def _finish(self, fake: _Fake) -> None:
        self._store(fake)
        if fake.decision is not None:
            fake.items = list(settled(fake.items, fake.clip, fake.decision))
        rows = [item for item in fake.items if isinstance(item, Row)]
        forged, unchanged = len(rows) < len(fake.items), any(row.reason == "unchanged" for row in rows)
        elsewhere = not fake.keys or any(row.reason == "misaligned" for row in rows)
        if not self.pairs and elsewhere and (forged or not unchanged):  # else its sound alone is forged: it is no fake
            self._alone(fake.clip)
            return
        broken = sorted(reason for reason in fake.reasons if reason.startswith("unreadable"))
        if fake.frames.lost and not broken:  # between those that were asked for
            broken = [f"unreadable: {fake.frames.lost} frames are damaged or cannot be decoded"]
        fake.items += [row_of(fake.clip, "failed", reason) for reason in broken]
        self.items += fake.items or [row_of(fake.clip, "dropped", "too_short")]

    def _sample(self, clip: Clip, row: Row, face: Picture, mri: tuple[str, bytes | None],
                about: dict[str, Any]) -> Sample:  # fmt: skip
        pack = self.tools.config.pack
        row.seen(about["box"], about["frame_size"])
        with self.stages("encode"):
            members: list[Member] = [(FACE, encode(to_host(face), "jpg", pack.jpeg_quality))]
            if mri[1] is not None:
                members.append((mri_member(pack.mri_format), mri[1]))
            members.append((JSON, sample_json(row, clip, mri=mri[0], **about)))
        return Sample(row, members)
