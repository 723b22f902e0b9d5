"""Drawn motion: of the head, the eyelids and the camera. Values by frame."""

from __future__ import annotations

import numpy as np

TURN = np.radians(12.0)  # the largest yaw
NOD = np.radians(8.0)  # the largest pitch
TILT = np.radians(4.0)  # the largest roll
SWAY = 0.06, 0.03  # of the face's width, sideways and up
BLINK = (1, 3, 3, 2, 1)  # the eyelids' states, see `head.CLOSED`, in the frames of a blink


def wave(rng: np.random.Generator, times: np.ndarray, hertz: float) -> np.ndarray:
    """(frames,) smooth values, mostly in -1..1, of frequencies up to `hertz`, at `times` in seconds."""
    amounts, rates, phases = rng.uniform(0.3, 1, (4, 1)), rng.uniform(0.2, 1, (4, 1)) * hertz, rng.random((4, 1))
    return (amounts * np.sin(2 * np.pi * (rates * times + phases))).sum(0) / 1.8


def draw_head(rng: np.random.Generator, times: np.ndarray) -> dict[str, np.ndarray]:
    """The head's pose: yaw, pitch, roll (radians), x, y (widths of the face), jaw (0..1), smile (about -1..1)."""
    lively = rng.uniform(0.3, 1)

    def angle(largest: float, hertz: float) -> np.ndarray:
        return lively * largest * np.tanh(0.9 * wave(rng, times, hertz) + rng.uniform(-0.6, 0.6))

    return {
        "yaw": angle(TURN, 0.5),
        "pitch": angle(NOD, 0.6),
        "roll": angle(TILT, 0.5),
        "x": SWAY[0] * lively * wave(rng, times, 0.5),
        "y": SWAY[1] * lively * wave(rng, times, 0.6),
        "jaw": (rng.random() < 0.5) * np.clip(wave(rng, times, 3.5), 0, 1),
        "smile": (rng.random() < 0.5) * wave(rng, times, 0.7),
    }


def draw_blinks(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    """(frames,) the state of the eyelids."""
    states = np.zeros(len(times), np.int64)
    start = rng.uniform(0, 3.0)
    while start < times[-1]:
        first = int(np.searchsorted(times, start))
        shown = states[first : first + len(BLINK)]
        shown[:] = BLINK[: len(shown)]
        start += rng.uniform(1.2, 4)
    return states


def draw_camera(rng: np.random.Generator, times: np.ndarray, height: int) -> dict[str, np.ndarray]:
    """The camera's motion, in half of the clips shaky: x, y (px of a view of `height` px), roll (radians), zoom."""
    shake = (rng.random() < 0.5) * rng.uniform(0.3, 1.0) * height / 480
    pan = (rng.random() < 0.6) * rng.uniform(0.005, 0.025) * height

    def sway(part: float) -> np.ndarray:
        slow, fast, trembling = (wave(rng, times, hertz) for hertz in (0.35, 1.2, 5))
        return part * pan * slow + shake * (2 * fast + 0.5 * trembling)

    zoom = (rng.random() < 0.5) * 0.05 * rng.uniform(-1, 1) * np.linspace(-1, 1, len(times))
    return {
        "x": sway(1.0),
        "y": sway(0.5),
        "roll": np.radians(rng.normal(0, 1.0)) + shake * np.radians(0.25) * wave(rng, times, 1),
        "zoom": 1 + zoom + 0.004 * shake * wave(rng, times, 1),
    }
