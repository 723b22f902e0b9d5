"""How large a face is in a clip, and where: drawn within what the still shows around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIZES = (
    (426, 240), (480, 360), (640, 360), (640, 480), (480, 640), (854, 480), (720, 576), (960, 540), (1280, 720)
)  # px, width × height of frames  # fmt: skip
ASPECTS = (4 / 3, 16 / 9, 1.0, 3 / 4)  # width over height of a window
FACE = (60.0, 300.0)  # px, width of the detector's box
TIGHTEST, LOOSE, WIDEST = 0.6, 0.42, 0.2  # the face's width over the view's height; LOOSE: the tightest in a window
HEADROOM = (0.42, 0.58)  # where the face's middle is in the view, from its top
MARGIN = 0.07  # of the view's height, on each side: room for the camera's motion
WHOLE = 0.85  # of the clips: the view fills the frame, if the still reaches so far
SMALLEST = 0.1  # of the frame's area: a window
ENLARGED = 1.25  # the most that a still is enlarged: a blurred face is no video
TRIES = 60


@dataclass(frozen=True)
class Room:
    """How far a still's surroundings reach from the middle of its face, in widths of the detector's box.

    Args:
        face: px, that width.
    """

    face: float
    left: float
    right: float
    up: float
    down: float


@dataclass(frozen=True)
class Framing:
    """Where the face is.

    Args:
        face: px, width of the detector's box in a frame of a camera at rest.
        size: (width, height) px of the frames.
        view: (width, height) px of what is filmed: the frames' size, or that of a window in them.
        corner: (x, y) px of the window in the frame.
        place: (x, y) px of the face's middle in the view.
    """

    face: float
    size: tuple[int, int]
    view: tuple[int, int]
    corner: tuple[int, int]
    place: tuple[float, float]


def draw_framing(rng: np.random.Generator, room: Room) -> Framing:
    """Draw a framing.

    The view fills the frame where the still reaches so far; else it is a window in a screen, as in webinars and news,
    with its border away from the face. A face that is too small for both is drawn again; a still that shows little but
    a face fills a tight window.
    """
    for _ in range(TRIES):
        face = _width(rng, room)
        whole = [size for size in SIZES if WIDEST <= face / size[1] <= TIGHTEST and _covers(room, face, size)]
        if whole and rng.random() < WHOLE:
            size = whole[int(rng.integers(len(whole)))]
            return Framing(face, size, size, (0, 0), _place(rng, room, face, size))
        height = face / rng.uniform(WIDEST, LOOSE)
        view = _even(max(height * rng.choice(ASPECTS), 2 * face)), _even(height)
        size = SIZES[int(rng.integers(len(SIZES)))]
        large = view[0] * view[1] >= SMALLEST * size[0] * size[1]
        if view[0] <= size[0] and view[1] <= size[1] and large and _covers(room, face, view):
            return Framing(face, size, view, _corner(rng, size, view), _place(rng, room, face, view))
    wide, up = min(2 * min(room.left, room.right), 3.0), min(room.up, 1.2)
    high = up + room.down
    within = 1 / (1 + 2 * MARGIN)
    size = (640, 480)
    face = min(_width(rng, room), size[0] / (wide * within), size[1] / (high * within))
    height = face * high * within
    view = _even(min(face * wide - 2 * MARGIN * height, size[0])), _even(height)
    return Framing(face, size, view, _corner(rng, size, view), (view[0] / 2, up * face - MARGIN * height))


def _width(rng: np.random.Generator, room: Room) -> float:
    least, most = FACE
    return float(np.exp(rng.uniform(np.log(least), np.log(min(most, ENLARGED * room.face)))))


def _even(length: float) -> int:
    return 2 * max(round(length / 2), 1)


def _corner(rng: np.random.Generator, size: tuple[int, int], view: tuple[int, int]) -> tuple[int, int]:
    """A drawn corner of a window, on even px, as 4:2:0 asks for."""
    return tuple(2 * int(rng.integers((side - part) // 2 + 1)) for side, part in zip(size, view, strict=True))  # type: ignore[return-value]


def _rows(room: Room, face: float, height: int) -> tuple[float, float]:
    """The lowest and highest row of the face's middle in a canvas (a view with its margin), in px."""
    high = height * (1 + 2 * MARGIN)
    return max(high - room.down * face, HEADROOM[0] * high), min(room.up * face, HEADROOM[1] * high)


def _covers(room: Room, face: float, view: tuple[int, int]) -> bool:
    """Whether a still reaches the borders of a view, with room for motion."""
    least, most = _rows(room, face, view[1])
    return view[0] / 2 + MARGIN * view[1] <= min(room.left, room.right) * face and least <= most


def _place(rng: np.random.Generator, room: Room, face: float, view: tuple[int, int]) -> tuple[float, float]:
    slack = min(room.left, room.right) * face - (view[0] / 2 + MARGIN * view[1])
    aside = min(slack, 0.2 * max(view[0] - 1.8 * face, 0.0)) * rng.uniform(-1, 1)
    return float(view[0] / 2 + aside), float(rng.uniform(*_rows(room, face, view[1])) - MARGIN * view[1])
