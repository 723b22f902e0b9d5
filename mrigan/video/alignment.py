"""Which frame of a fake shows the same moment and window as a frame of its original, if any does.

An MRI compares a fake face with the original's pixel by pixel, so a pair is used only where both really show the same
moment. Public fakes are shorter, longer, cut out of the middle (some FaceForensics methods), scaled, and some drift
away from their original in mid-clip (Celeb-DF). A forged face says nothing about that, the border of the frame does:
its outer eighth is the same picture in both. So every frame is judged by the mean grey difference there:

1. the same index, in the geometry of the clip: same size; else cut out (the window is searched, before any scaling);
   else scaled;
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

INSIDE = 0.9  # of a box's area must lie in a cut-out fake's window
CLEARLY = 0.6  # another offset must bring the difference below this part of the held one's
SUSPECT = 1.5  # times the clip's usual difference: above it the neighbours are looked at
USUAL = 3.0  # times the clip's usual difference: above it a newly found offset is a chance hit
QUIET = 1.0  # of 255: differences below this are never suspect
LOST = "unreadable: this frame of the fake cannot be decoded"
RECENT = 25  # frames that make the clip's usual difference


@dataclass(frozen=True)
class Geometry:
    """How both pictures of a pair come to one size, and where a box of the original lies in it.

    Args:
        size: (w, h) in px of the pair's pictures.
        window: (dx, dy) in px of the original: where a cut-out fake's corner lies.
        scale: (x, y), size of the pair's pictures over that of the original (after the window); 1 = as it is.
    """

    size: tuple[int, int]
    window: tuple[int, int] = (0, 0)
    scale: tuple[float, float] = (1.0, 1.0)

    def original(self, image: np.ndarray) -> np.ndarray:
        """The original's picture in the pair's geometry."""
        if self.scale != (1.0, 1.0):
            return _scale(image, self.size)
        (w, h), (dx, dy) = self.size, self.window
        return image[dy : dy + h, dx : dx + w]

    def fake(self, image: np.ndarray) -> np.ndarray:
        """The fake's picture in the pair's geometry."""
        return image if image.shape[1::-1] == self.size else _scale(image, self.size)

    def box(self, box: Sequence[float]) -> tuple[float, float, float, float] | None:
        """A box in px of the original, in px of the pair's pictures and clipped to them.

        None where less than nine tenths of it lie in the window: then the fake does not show this face whole.
        """
        (w, h), (dx, dy), (sx, sy) = self.size, self.window, self.scale
        x0, y0, x1, y1 = (box[0] - dx) * sx, (box[1] - dy) * sy, (box[2] - dx) * sx, (box[3] - dy) * sy
        cx0, cy0, cx1, cy1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(w)), min(y1, float(h))
        area = (x1 - x0) * (y1 - y0)
        if cx1 <= cx0 or cy1 <= cy0 or (cx1 - cx0) * (cy1 - cy0) < INSIDE * area:
            return None
        return cx0, cy0, cx1, cy1


@dataclass(frozen=True)
class Paired:
    """A frame of the original and what the fake shows of it.

    Args:
        index, time: of the original's frame.
        reason: "" = a pair; "misaligned"; "ended" = the fake is shorter and has no such frame; "unreadable: ...".
        original, fake: (h, w, 3) uint8 RGB of one size, None unless this is a pair.
        geometry: maps the original's boxes into these pictures: `paired.geometry.box(face.box)`.
        fake_index: of the fake's frame, -1 unless this is a pair.
        difference: mean grey difference in the outer eighth, 0..255, of the best candidate; NaN where there is none.
    """

    index: int
    time: float
    reason: str
    original: np.ndarray | None = None
    fake: np.ndarray | None = None
    geometry: Geometry | None = None
    fake_index: int = -1
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

        fakes = [FakeClip(path, config) for path in paths]
        for frame in read_frames(original, wanted=table.by_frame()):
            for fake in fakes:
                paired = fake.pair(frame)

    Errors of the fake's file do not raise: its frames come back as `unreadable: ...`.
    """

    def __init__(self, path: str | Path, config: PairsConfig) -> None:
        self.config = config
        self.alignment = Alignment()
        self._frames = decode(path)
        self._window: deque[Decoded] = deque()
        self._ended = ""  # the reason of all frames after the last
        self._offset = 0

    def close(self) -> None:
        """Close the file before its end; `pair` must not be called afterwards."""
        self._frames.close()
        self._window.clear()

    def pair(self, frame: Frame) -> Paired:
        """Find the fake's frame for this frame of the original."""
        paired = self._pair(frame)
        self.alignment.frames[paired.reason.split(":", maxsplit=1)[0]] += 1
        if not paired.reason:
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
        grey = _grey(original)
        if geometry is None:
            return self._first(grey, near, order)
        reference = _grey(geometry.original(original))

        def difference(offset: int) -> float:
            return border_difference(reference, _grey(geometry.fake(near[offset].frame().image)))

        usual = statistics.median(self.alignment.differences[-RECENT:]) if self.alignment.differences else 0.0
        held = difference(self._offset)
        if held <= max(QUIET, SUSPECT * usual) and held <= self.config.border_difference:
            return self._offset, held, geometry
        others = [(difference(o), o) for o in order if o != self._offset]
        if others:
            best, offset = min(others)
            if best < CLEARLY * held and best <= max(QUIET, USUAL * usual):
                return offset, best, geometry
        return self._offset, held, geometry

    def _first(self, grey: np.ndarray, near: dict[int, Decoded], order: list[int]) -> tuple[int, float, Geometry]:
        """Before the first pair the geometry is unknown: each is tried at each offset, the nearest offset first."""
        found: list[tuple[int, float, Geometry]] = []
        for offset in order:
            fake = _grey(near[offset].frame().image)
            for geometry in geometries(grey, fake):
                value = border_difference(geometry.original(grey), geometry.fake(fake))
                if not found or value < CLEARLY * found[-1][1]:
                    found.append((offset, value, geometry))
            if found[-1][1] <= QUIET:
                break
        return found[-1]


@contextmanager
def follow(paths: Sequence[str | Path], config: PairsConfig) -> Iterator[list[FakeClip]]:
    """Open the fakes of a family; they are closed when the block ends."""
    clips = [FakeClip(path, config) for path in paths]
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
    with follow([fake], config) as (clip,):
        for frame in read_frames(original, wanted=wanted):
            yield clip.pair(frame)


def geometries(original: np.ndarray, fake: np.ndarray) -> Iterator[Geometry]:
    """The ways in which a fake's picture may lie in its original's (both (h, w) grey), the likeliest first."""
    import cv2

    (H, W), (h, w) = original.shape, fake.shape
    if (h, w) == (H, W):
        yield Geometry((w, h))
        return
    if h <= H and w <= W:
        match = cv2.matchTemplate(original, fake, cv2.TM_SQDIFF)
        dy, dx = np.unravel_index(int(match.argmin()), match.shape)
        yield Geometry((w, h), window=(int(dx), int(dy)))
    size = (w, h) if w * h <= W * H else (W, H)
    yield Geometry(size, scale=(size[0] / W, size[1] / H))


def border_difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference of two (h, w) uint8 grey pictures in the outer eighth on each side, 0..255."""
    import cv2

    h, w = a.shape
    y, x = max(h // 8, 1), max(w // 8, 1)
    difference = cv2.absdiff(a, b)
    inner = difference[y : h - y, x : w - x]
    total = int(difference.sum(dtype=np.int64)) - int(inner.sum(dtype=np.int64))
    return total / (h * w - inner.size)


def changed(original_face: np.ndarray, fake_face: np.ndarray, config: PairsConfig) -> bool:
    """Whether a fake face differs from the original's: more than `changed_pixels` pixels by more than `changed_by`.

    The DFDC winner's rule, on the grey values of two (h, w, 3) uint8 faces of one size. DFDC has fakes with an altered
    sound and an unchanged picture, and fakes in which only one of several people is swapped.
    """
    import cv2

    difference = cv2.absdiff(_grey(original_face), _grey(fake_face))
    return int(np.count_nonzero(difference > config.changed_by)) > config.changed_pixels


def _grey(image: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def _scale(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    import cv2

    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
