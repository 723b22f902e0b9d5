"""Which frame of a fake shows the same moment and window as a frame of its original, if any does.

An MRI compares a fake face with the original's pixel by pixel, so a pair is used only where both really show the same
moment. Public fakes are shorter, longer, cut out of the middle (some FaceForensics methods), scaled, begin late, lose
frames, and some drift away from their original in mid-clip (Celeb-DF). Two kinds of evidence tell:

- **The clip**: what moves outside the faces says which of the fake's frames shows the moment of a frame of the original
  (`moments`). It is gathered from the frames that are decoded anyway, while every frame is paired with its own index.
  Most clips are then known to be aligned. For another one, `decide` looks at all frames of the fake.
- **The frame**: the outer eighth of both pictures, which no face forgery touches, must be alike: a mean grey difference
  of at most `border_difference`, in the geometry of the clip: same size; else cut out (of the centre, else of a window
  that is searched, both before any scaling); else scaled.

In a cut-out fake the original is cut to the fake's window; of a scaled pair the larger picture is scaled down (area) to
the smaller. So both pictures of a pair have one size, and one box in it cuts the same pixels out of both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mrigan.config import PairsConfig
from mrigan.imaging.picture import grey
from mrigan.video.evidence import Evidence
from mrigan.video.frames import Decoded, Frame
from mrigan.video.geometry import FLAT, Geometry, border_difference, geometries, grey_rim, rim
from mrigan.video.moments import Decision
from mrigan.video.source import FrameSource, PyAvSource
from mrigan.video.window import Greys, Window

Boxes = Mapping[int, Sequence[Sequence[float]]]

CLEARLY = 0.6  # a less likely geometry must bring the difference below this part of a likelier one's
QUIET = 1.0  # of 255: a geometry with so small a difference is not doubted
TRUSTED = 3  # pairs after which the geometry is settled
# Frames beside the wanted ones are decoded, too; of a clip with at most so many wanted frames:
BOTH_SIDES = 12  # both of each;
ONE_SIDE = 24  # the next one of two, then the one before of two;
EVERY = 3  # with more, both of every third


@dataclass(frozen=True)
class Paired:
    """A frame of the original and what the fake shows of it.

    Args:
        index, time: of the original's frame.
        reason: "" = a pair; "misaligned"; "ended" = the fake is shorter and has no such frame; "unreadable: ...".
        original, fake: (h, w, 3) uint8 RGB of one size, None unless this is a pair.
        geometry: maps the original's boxes into these pictures: `paired.geometry.box(face.box)`.
        fake_index: of the fake's frame, -1 unless this is a pair.
        fake_time: of the fake's frame, seconds since the fake's first one.
        fake_size: (w, h) in px of the fake's frame as displayed, (0, 0) unless this is a pair.
        difference: mean grey difference in the outer eighth, 0..255; NaN where no frame was compared.
    """

    index: int
    time: float
    reason: str
    original: np.ndarray | None = None
    fake: np.ndarray | None = None
    geometry: Geometry | None = None
    fake_index: int = -1
    fake_time: float = float("nan")
    fake_size: tuple[int, int] = (0, 0)
    difference: float = float("nan")


@dataclass
class Alignment:
    """What became of the frames of one fake.

    Args:
        frames: counts by reason ("" = pairs).
        offsets: counts of pairs by fake index − original index.
        geometry: None until a pair was found.
        differences: of the pairs, 0..255.
    """

    frames: Counter[str] = field(default_factory=Counter)
    offsets: Counter[int] = field(default_factory=Counter)
    geometry: Geometry | None = None
    differences: list[float] = field(default_factory=list)


class FakeClip:
    """A fake that is read alongside its original, one frame of the original at a time, in rising order.

    Several fakes can follow one pass over their original:

        wanted = table.by_frame()
        with follow(paths, config, wanted, boxes=boxes) as fakes:
            for frame in read_frames(original, indices=wanted):
                for fake in fakes:
                    paired = fake.pair(frame)
            decisions = [fake.decide() for fake in fakes]

    In this pass every frame is paired with its own index. `decide` tells which of these pairs show one moment
    (`Decision.targets`); where it names other frames, a second pass with a `FakeClip` that is given the decision makes
    the pairs. Errors of the fake's file do not raise: its frames come back as `unreadable: ...`.

    Args:
        wanted: the indices of all frames that will be asked for. None = any may be.
        source: who decodes. greys: the original's grey values, shared by the fakes of a family.
        boxes: of the faces in each wanted frame, in px of the original. decision: of an earlier pass.
    """

    def __init__(
        self,
        path: str | Path,
        config: PairsConfig,
        wanted: Collection[int] | None = None,
        source: FrameSource | None = None,
        greys: Greys | None = None,
        *,
        boxes: Boxes | None = None,
        decision: Decision | None = None,
    ) -> None:
        self.config = config
        self.decision = decision
        self.alignment = Alignment()
        self.path, self._source, self._greys = Path(path), source or PyAvSource(), greys or Greys()
        self._boxes = boxes or {}
        self._usable = 0  # pairs whose frames show something
        self._complete = wanted is None
        self._evidence: Evidence | None = None
        self._at: Frame | None = None  # the original's frame at hand
        if decision is not None:
            self._window = Window(self._source, path, set(decision.targets.values()))
            return
        needed = None
        if wanted is not None:
            needed = {*wanted, *_beside(sorted(wanted))}
        self._window = Window(self._source, path, needed, self._passing)

    def close(self) -> None:
        """Close the file before its end; `pair` must not be called afterwards."""
        self._window.close()

    @property
    def lost(self) -> int:
        """Frames of the fake that are damaged or cannot be decoded, as far as it has been read."""
        return self._window.lost

    def pair(self, frame: Frame) -> Paired:
        """Find the fake's frame for this frame of the original."""
        paired = self._pair(frame)
        self.alignment.frames[paired.reason.split(":", maxsplit=1)[0]] += 1
        if paired.original is not None:
            if self._greys.spread(frame) > FLAT:
                self._usable += 1
            self.alignment.offsets[paired.fake_index - paired.index] += 1
            self.alignment.differences.append(paired.difference)
        return paired

    def decide(self) -> Decision:
        """What the clip as a whole tells, once all wanted frames went through `pair`.

        Reads the fake once more where the frames that came do not tell.
        """
        evidence, furthest = self._evidence, self.config.offset
        if self._complete:
            self._window.read_on()
        if evidence is None:
            self.decision = Decision()
            return self.decision
        self.decision = evidence.decide(complete=self._complete, furthest=furthest)
        if self.decision.unsure:
            evidence.forget_fake()
            end = Window(self._source, self.path, None, self._passing).read_on()
            self.decision = replace(evidence.decide(complete=True, furthest=furthest), end=end)
        return self.decision

    def _passing(self, decoded: Decoded) -> None:
        """Take what a frame of the fake tells."""
        if self._evidence is None:
            assert self._at is not None
            self._evidence = Evidence(self._at.image, decoded.frame().image, self._greys)
        self._evidence.add_fake(decoded)

    def _pair(self, frame: Frame) -> Paired:
        target = frame.index
        if self.decision is not None and frame.index not in self.decision.targets:
            absent = frame.index in self.decision.absent
            return Paired(frame.index, frame.time, self.decision.end if absent else "misaligned")
        if self.decision is not None:
            target = self.decision.targets[frame.index]
        self._at = frame
        found = self._window.get(target)
        if self._evidence is not None and self.decision is None:
            self._evidence.add_original(frame, self._boxes.get(frame.index, ()), found)
        if found is None:  # no neighbour stands in for a frame that is not there
            return Paired(frame.index, frame.time, self._window.absence(target))
        difference, geometry = self._judge(frame, found)
        if difference > self.config.border_difference:
            return Paired(frame.index, frame.time, "misaligned", difference=difference)
        self.alignment.geometry = geometry
        image = found.frame().image
        return Paired(
            index=frame.index,
            time=frame.time,
            reason="",
            original=geometry.original(frame.image),
            fake=geometry.fake(image),
            geometry=geometry,
            fake_index=found.index,
            fake_time=found.time,
            fake_size=(image.shape[1], image.shape[0]),
            difference=difference,
        )

    def _judge(self, frame: Frame, found: Decoded) -> tuple[float, Geometry]:
        """The frame's difference and geometry."""
        geometry = self.alignment.geometry
        if geometry is not None:
            difference = self._difference(frame, found, geometry)
            # a dark first frame may have settled a wrong window
            if difference <= self.config.border_difference or self._usable >= TRUSTED:
                return difference, geometry
        best: tuple[float, Geometry] | None = None
        for geometry in geometries(self._greys(frame), grey(found.frame().image)):
            difference = self._difference(frame, found, geometry)
            if best is None or difference < CLEARLY * best[0]:
                best = difference, geometry
            if best[0] <= QUIET:
                break
        assert best is not None
        return best

    def _difference(self, frame: Frame, found: Decoded, geometry: Geometry) -> float:
        if geometry.scale == (1.0, 1.0):
            reference = rim(geometry.original(self._greys(frame)))  # computed once for all fakes
        else:
            reference = grey_rim(geometry.original(frame.image))
        return border_difference(reference, grey_rim(geometry.fake(found.frame().image)))


def _beside(wanted: Sequence[int]) -> set[int]:
    """The frames beside the wanted ones that tell whether another moment fits better.

    Most decoders leave out frames that no other refers to. Each of these costs as much as a wanted one.
    """
    if BOTH_SIDES < len(wanted) <= ONE_SIDE:
        return {index + (1 if n % 4 < 2 else -1) for n, index in enumerate(wanted)}
    middle = wanted if len(wanted) <= BOTH_SIDES else wanted[EVERY // 2 :: EVERY]
    return {index + side for index in middle for side in (-1, 1)}


@contextmanager
def follow(
    paths: Sequence[str | Path],
    config: PairsConfig,
    wanted: Collection[int] | None = None,
    source: FrameSource | None = None,
    *,
    boxes: Boxes | None = None,
    decisions: Sequence[Decision] | None = None,
) -> Iterator[list[FakeClip]]:
    """Open the fakes of a family (see `FakeClip`); they are closed when the block ends.

    Args:
        boxes: of the faces in each wanted frame. decisions: of an earlier pass, one a path.
    """
    greys = Greys()
    known: Sequence[Decision | None] = decisions or [None] * len(paths)
    clips = [
        FakeClip(path, config, wanted, source, greys, boxes=boxes, decision=decision)
        for path, decision in zip(paths, known, strict=True)
    ]
    try:
        yield clips
    finally:
        for clip in clips:
            clip.close()
