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
from mrigan.video.frames import Decoded, Frame
from mrigan.video.geometry import Geometry, border_difference, geometries, grey, grey_rim, rim, spread
from mrigan.video.source import FrameSource, PyAvSource
from mrigan.video.window import Greys, Window

CLEARLY = 0.6  # another offset must bring the difference below this part of the held one's
SUSPECT = 1.5  # times the clip's usual difference: above it the neighbours are looked at
USUAL = 3.0  # times the clip's usual difference: above it a newly found offset is a chance hit
QUIET = 1.0  # of 255: differences below this are never suspect
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
        fake_size: (w, h) in px of the fake's frame as displayed, (0, 0) unless this is a pair.
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

    Holds at most 2 · `offset` + 1 decoded frames, so that several fakes can follow one pass over their original:

        wanted = table.by_frame()
        with follow(paths, config, wanted) as fakes:
            for frame in read_frames(original, wanted=wanted):
                for fake in fakes:
                    paired = fake.pair(frame)

    Errors of the fake's file do not raise: its frames come back as `unreadable: ...`.

    Where `wanted` is known, neighbours are decoded only once a frame calls for them. A clip that is aligned throughout,
    as most are, spares its decoder half of the frames; another one is read a second time, from its beginning.

    Args:
        wanted: the indices of all frames that will be asked for. None = any may be.
        source: who decodes. greys: the original's grey values, shared by the fakes of a family.
    """

    def __init__(
        self,
        path: str | Path,
        config: PairsConfig,
        wanted: Collection[int] | None = None,
        source: FrameSource | None = None,
        greys: Greys | None = None,
    ) -> None:
        self.config = config
        self.alignment = Alignment()
        self._path, self._source, self._greys = path, source or PyAvSource(), greys or Greys()
        self._wanted = sorted(wanted) if wanted is not None else None
        self._window = self._open(self._wanted and self._wanted[:TRUSTED])
        self._offset = 0
        self._usual: deque[float] = deque(maxlen=RECENT)

    def close(self) -> None:
        """Close the file before its end; `pair` must not be called afterwards."""
        self._window.close()

    def pair(self, frame: Frame) -> Paired:
        """Find the fake's frame for this frame of the original."""
        paired = self._pair(frame)
        self.alignment.frames[paired.reason.split(":", maxsplit=1)[0]] += 1
        if paired.original is not None:
            if spread(self._grey(frame, paired)) > FLAT:
                self._usual.append(paired.difference)
            self.alignment.offsets[paired.fake_index - paired.index] += 1
            self.alignment.differences.append(paired.difference)
        return paired

    def _open(self, whole: Sequence[int] | None) -> Window:
        """The fake's frames from the first on, with the neighbours of the indices in `whole`."""
        return Window(self._source, self._path, self.config.offset, self._wanted, whole)

    def _around(self, index: int) -> dict[int, Decoded]:
        """All frames near `index`, by offset."""
        if not self._window.has_all_around(index):
            self._window.close()
            self._window = self._open(self._wanted)
        return self._window.around(index)

    def _pair(self, frame: Frame) -> Paired:
        near = self._window.around(frame.index) if self._offset == 0 else self._around(frame.index)
        if self._offset not in near:  # no neighbour stands in for a frame that is not there
            return Paired(frame.index, frame.time, self._window.absence(frame.index + self._offset))
        found, difference, geometry = self._judge(frame, near)
        if difference > self.config.border_difference:
            return Paired(frame.index, frame.time, "misaligned", difference=difference)
        self._offset = found.index - frame.index
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

    def _judge(self, frame: Frame, near: dict[int, Decoded]) -> tuple[Decoded, float, Geometry]:
        """The best frame of the fake, its difference and geometry; `near` holds at least the held offset."""
        geometry = self.alignment.geometry
        if geometry is None:
            return self._first(frame)
        reference = self._reference(frame, geometry)
        limit = self.config.border_difference
        usual = statistics.median(self._usual) if self._usual else limit
        held = _difference(reference, near[self._offset], geometry)
        if held <= min(max(QUIET, SUSPECT * usual), limit):
            return near[self._offset], held, geometry
        near = self._around(frame.index)
        others = [(_difference(reference, near[o], geometry), o) for o in self._order(near) if o != self._offset]
        if others:
            best, offset = min(others)
            if best < CLEARLY * held and best <= max(QUIET, USUAL * usual):
                return near[offset], best, geometry
        if held > limit and len(self._usual) < TRUSTED:  # a dark first frame may have settled a wrong window
            return self._first(frame)
        return near[self._offset], held, geometry

    def _first(self, frame: Frame) -> tuple[Decoded, float, Geometry]:
        """While the geometry is unknown, each is tried at each offset, the likeliest and nearest first.

        A panning camera makes a wrong window at a wrong offset look right: so a later candidate must be clearly better.
        """
        near = self._around(frame.index)
        found: list[tuple[Decoded, float, Geometry]] = []
        original = self._greys(frame)
        for geometry in geometries(original, grey(near[self._offset].frame().image)):
            reference = rim(geometry.original(original))
            for offset in self._order(near):
                value = _difference(reference, near[offset], geometry)
                if not found or value < CLEARLY * found[-1][1]:
                    found.append((near[offset], value, geometry))
            if found[-1][1] <= QUIET:
                break
        return found[-1]

    def _order(self, near: Collection[int]) -> list[int]:
        return sorted(near, key=lambda o: (o != self._offset, abs(o), o))

    def _grey(self, frame: Frame, paired: Paired) -> np.ndarray:
        """The grey values of a pair's original."""
        if paired.geometry is not None and paired.geometry.scale == (1.0, 1.0):
            return paired.geometry.original(self._greys(frame))  # computed once for all fakes
        return grey(paired.original)

    def _reference(self, frame: Frame, geometry: Geometry) -> list[np.ndarray]:
        """The grey rim of the original in the pair's geometry."""
        if geometry.scale == (1.0, 1.0):
            return rim(geometry.original(self._greys(frame)))
        return grey_rim(geometry.original(frame.image))


def _difference(reference: list[np.ndarray], fake: Decoded, geometry: Geometry) -> float:
    return border_difference(reference, grey_rim(geometry.fake(fake.frame().image)))


@contextmanager
def follow(
    paths: Sequence[str | Path],
    config: PairsConfig,
    wanted: Collection[int] | None = None,
    source: FrameSource | None = None,
) -> Iterator[list[FakeClip]]:
    """Open the fakes of a family (see `FakeClip`); they are closed when the block ends."""
    greys = Greys()
    clips = [FakeClip(path, config, wanted, source, greys) for path in paths]
    try:
        yield clips
    finally:
        for clip in clips:
            clip.close()


def pair_frames(
    original: str | Path,
    fake: str | Path,
    wanted: Collection[int],
    config: PairsConfig,
    source: FrameSource | None = None,
) -> Iterator[Paired]:
    """Pair the `wanted` frames of an original with one fake, in order. Several fakes share a pass with `follow`.

    Raises:
        InputError, TruncatedVideo: of the original, as `read_frames`; a bad fake gives `unreadable: ...` frames.
    """
    with follow([fake], config, wanted, source) as (clip,):
        for frame in (source or PyAvSource()).read(original, wanted=wanted):
            yield clip.pair(frame)
