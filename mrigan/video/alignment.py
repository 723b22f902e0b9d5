"""Which frame of a fake shows the same moment and window as a frame of its original, if any does.

An MRI compares a fake face with the original's pixel by pixel, so a pair is used only where both really show the same
moment. Public fakes are shorter, longer, cut out of the middle (some FaceForensics methods), scaled, and some drift
away from their original in mid-clip (Celeb-DF). A forged face says nothing about that, the border of the frame does:
its outer eighth is the same picture in both. So every frame is judged by the mean grey difference there:

1. the same index, in the geometry of the clip: same size; else cut out (of the centre, else of a window that is
   searched, both before any scaling); else scaled;
2. otherwise up to `offset` frames earlier or later; an offset that was found is held for the frames that follow;
3. otherwise the frame is misaligned.

In a cut-out fake the original is cut to the fake's window; of a scaled pair the larger picture is scaled down (area) to
the smaller. So both pictures of a pair have one size, and one box in it cuts the same pixels out of both.
"""

from __future__ import annotations

import statistics
from collections import Counter, deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mrigan.config import PairsConfig
from mrigan.errors import InputError
from mrigan.video.frames import Decoded, Frame, decode, read_frames
from mrigan.video.geometry import Geometry, border_difference, geometries, grey

CLEARLY = 0.6  # another offset must bring the difference below this part of the held one's
SUSPECT = 1.5  # times the clip's usual difference: above it the neighbours are looked at
USUAL = 3.0  # times the clip's usual difference: above it a newly found offset is a chance hit
QUIET = 1.0  # of 255: differences below this are never suspect
LOST = "unreadable: this frame of the fake cannot be decoded"
FLAT = 8.0  # of 255, standard deviation: darker or emptier frames match at every offset and tell nothing
TRUSTED = 3  # pairs after which the geometry is settled
RECENT = 25  # frames that make the clip's usual difference


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
        difference: mean grey difference in the outer eighth, 0..255, of the best candidate; NaN where there is none.
    """

    index: int
    time: float
    reason: str
    original: np.ndarray | None = None
    fake: np.ndarray | None = None
    geometry: Geometry | None = None
    fake_index: int = -1
    fake_time: float = float("nan")
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

    Holds at most 2 · `offset` + 1 decoded frames, so that several fakes can follow one pass over their original:

        wanted = table.by_frame()
        with follow(paths, config, wanted) as fakes:
            for frame in read_frames(original, wanted=wanted):
                for fake in fakes:
                    paired = fake.pair(frame)

    Errors of the fake's file do not raise: its frames come back as `unreadable: ...`.

    Args:
        wanted: the indices of all frames that will be asked for; spares the decoder others. None = any may be.
    """

    def __init__(self, path: str | Path, config: PairsConfig, wanted: Collection[int] | None = None) -> None:
        self.config = config
        self.alignment = Alignment()
        around = range(-config.offset, config.offset + 1)
        needed = {index + offset for index in wanted for offset in around} if wanted is not None else None
        self._frames = decode(path, needed=needed.__contains__ if needed is not None else None)
        self._window: deque[Decoded] = deque()
        self._ended = ""  # the reason of all frames after the last
        self._offset = 0
        self._usual: deque[float] = deque(maxlen=RECENT)

    def close(self) -> None:
        """Close the file before its end; `pair` must not be called afterwards."""
        self._frames.close()
        self._window.clear()

    def pair(self, frame: Frame) -> Paired:
        """Find the fake's frame for this frame of the original."""
        paired = self._pair(frame)
        self.alignment.frames[paired.reason.split(":", maxsplit=1)[0]] += 1
        if paired.original is not None:
            if grey(paired.original).std() > FLAT:
                self._usual.append(paired.difference)
            self.alignment.offsets[paired.fake_index - paired.index] += 1
            self.alignment.differences.append(paired.difference)
        return paired

    def _pair(self, frame: Frame) -> Paired:
        self._advance(frame.index)
        near = {d.index - frame.index: d for d in self._window if abs(d.index - frame.index) <= self.config.offset}
        if self._offset not in near:  # no neighbour stands in for a frame that is not there
            lost = any(o > self._offset for o in near) or not self._ended
            return Paired(frame.index, frame.time, LOST if lost else self._ended)
        offset, difference, geometry = self._judge(frame.image, near)
        if difference > self.config.border_difference:
            return Paired(frame.index, frame.time, "misaligned", difference=difference)
        self._offset = offset
        self.alignment.geometry = geometry
        image = near[offset].frame().image
        return Paired(
            index=frame.index,
            time=frame.time,
            reason="",
            original=geometry.original(frame.image),
            fake=geometry.fake(image),
            geometry=geometry,
            fake_index=near[offset].index,
            fake_time=near[offset].time,
            difference=difference,
        )

    def _advance(self, index: int) -> None:
        """Decode up to `index` + `offset`; frames before `index` − `offset` go."""
        while not self._ended and (not self._window or self._window[-1].index < index + self.config.offset):
            try:
                decoded = next(self._frames, None)
            except InputError as error:
                self._ended = f"unreadable: {error.what}"
                break
            if decoded is None:
                self._ended = "ended"
                break
            self._window.append(decoded)
        while self._window and self._window[0].index < index - self.config.offset:
            self._window.popleft()

    def _judge(self, original: np.ndarray, near: dict[int, Decoded]) -> tuple[int, float, Geometry]:
        """The best offset with its difference and geometry; `near` holds at least the held offset."""
        geometry = self.alignment.geometry
        order = sorted(near, key=lambda o: (o != self._offset, abs(o), o))
        gray = grey(original)
        if geometry is None:
            return self._first(gray, near, order)
        reference = grey(geometry.original(original))

        def difference(offset: int) -> float:
            return border_difference(reference, grey(geometry.fake(near[offset].frame().image)))

        limit = self.config.border_difference
        usual = statistics.median(self._usual) if self._usual else limit
        held = difference(self._offset)
        if held <= min(max(QUIET, SUSPECT * usual), limit):
            return self._offset, held, geometry
        others = [(difference(o), o) for o in order if o != self._offset]
        if others:
            best, offset = min(others)
            if best < CLEARLY * held and best <= max(QUIET, USUAL * usual):
                return offset, best, geometry
        if held > limit and len(self._usual) < TRUSTED:  # a dark first frame may have settled a wrong window
            return self._first(gray, near, order)
        return self._offset, held, geometry

    def _first(self, gray: np.ndarray, near: dict[int, Decoded], order: list[int]) -> tuple[int, float, Geometry]:
        """While the geometry is unknown, each is tried at each offset, the likeliest and nearest first.

        A panning camera makes a wrong window at a wrong offset look right: so a later candidate must be clearly better.
        """
        found: list[tuple[int, float, Geometry]] = []
        for geometry in geometries(gray, grey(near[self._offset].frame().image)):
            reference = geometry.original(gray)
            for offset in order:
                value = border_difference(reference, grey(geometry.fake(near[offset].frame().image)))
                if not found or value < CLEARLY * found[-1][1]:
                    found.append((offset, value, geometry))
            if found[-1][1] <= QUIET:
                break
        return found[-1]


@contextmanager
def follow(
    paths: Sequence[str | Path], config: PairsConfig, wanted: Collection[int] | None = None
) -> Iterator[list[FakeClip]]:
    """Open the fakes of a family (see `FakeClip`); they are closed when the block ends."""
    clips = [FakeClip(path, config, wanted) for path in paths]
    try:
        yield clips
    finally:
        for clip in clips:
            clip.close()


def pair_frames(
    original: str | Path, fake: str | Path, wanted: Collection[int], config: PairsConfig
) -> Iterator[Paired]:
    """Pair the `wanted` frames of an original with one fake, in order. Several fakes share a pass with `follow`.

    Raises:
        InputError, TruncatedVideo: of the original, as `read_frames`; a bad fake gives `unreadable: ...` frames.
    """
    with follow([fake], config, wanted) as (clip,):
        for frame in read_frames(original, wanted=wanted):
            yield clip.pair(frame)
