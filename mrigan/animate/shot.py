"""What is drawn for one clip, from the seed and the still's bytes alone: framing, motion, light, camera, codec."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mrigan.animate.framing import Framing, Room, draw_framing
from mrigan.animate.motion import draw_blinks, draw_camera, draw_head, wave

RATES = (25, 30)  # frames/s
CRF = (18.0, 25.0, 40.0)  # the least, the most frequent, and the most, of the last compression
SMALL, SMALL_CRF = (60.0, 150.0), 32.0  # px: the smaller the face, the less it is compressed, down to this most
FIRST_CRF = (18.0, 32.0)  # of a compression before the last
SCALES = (0.67, 0.75, 1.0, 1.25)  # of the frames in it
PRESETS = ("superfast", "veryfast", "faster")  # x264's
NOISE = (0.6, 7.0)  # of 255, standard deviation before compression


@dataclass(frozen=True)
class Pass:
    """One compression with H.264: CRF, scale of the frames, frames between key frames, x264's preset."""

    crf: float
    scale: float
    keys: int
    preset: str


@dataclass(frozen=True)
class Shot:
    """The settings of one clip.

    Args:
        rate: frames/s. frames: their number.
        mirrored: whether left is right. pasted: whether an invented scene is behind the person, if they can be cut out.
        head, camera, blinks: see `motion`.
        light: strength of a lamp, and its direction, x and y.
        gains: (frames, 3) factors of R, G, B. gamma: exponent of the brightness.
        blur: px, standard deviation. sharpen: share of what a blur of 1.2 px takes away.
        noise: of 255, standard deviation. grain: px, the noise's blur.
        shutter: share of a frame's time in which it is open.
        passes: compressions, in order.
    """

    framing: Framing
    rate: int
    frames: int
    mirrored: bool
    pasted: bool
    head: dict[str, np.ndarray]
    blinks: np.ndarray
    camera: dict[str, np.ndarray]
    light: tuple[float, float, float]
    gains: np.ndarray
    gamma: float
    blur: float
    sharpen: float
    noise: float
    grain: float
    shutter: float
    passes: tuple[Pass, ...]


def generator(seed: int, digest: str, number: int) -> np.random.Generator:
    """The random numbers of a clip: of the seed, the hex SHA-256 of the still's file, and the clip's number."""
    return np.random.default_rng([seed, number, *(int(digest[i : i + 8], 16) for i in range(0, 32, 8))])


def draw_shot(rng: np.random.Generator, room: Room, seconds: float) -> Shot:
    """Draw the settings of a clip of about `seconds`."""
    framing = draw_framing(rng, room)
    rate = int(rng.choice(RATES))
    times = np.arange(max(round(seconds * rate), 1)) / rate
    focus = rng.random()
    angle = rng.uniform(0, 2 * np.pi)
    lamp = (rng.random() < 0.7) * rng.uniform(0.1, 0.75)
    return Shot(
        framing=framing,
        rate=rate,
        frames=len(times),
        mirrored=bool(rng.random() < 0.5),
        pasted=bool(rng.random() < 0.6),
        head=draw_head(rng, times),
        blinks=draw_blinks(rng, times),
        camera=draw_camera(rng, times, framing.view[1]),
        light=(float(lamp), float(np.cos(angle)), float(0.5 * np.sin(angle))),
        gains=_draw_gains(rng, times),
        gamma=float(np.exp(rng.normal(0.05, 0.12))),
        blur=float(rng.uniform(0.3, 1.1)) if focus < 0.4 else 0.0,
        sharpen=float(rng.uniform(0.2, 0.8)) if focus > 0.65 else 0.0,
        noise=float(np.exp(rng.uniform(*np.log(NOISE)))),
        grain=float(rng.uniform(0.3, 0.9)),
        shutter=float(rng.uniform(0.2, 0.9)),
        passes=_draw_passes(rng, framing.face),
    )


def _draw_gains(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    """(frames, 3): exposure and white balance, which drift."""
    still = np.exp(rng.normal(-0.08, 0.1) + rng.normal(0, [0.035, 0.01, 0.045]))
    drift = 0.05 * rng.random() * wave(rng, times, 0.4)[:, None]
    balance = 0.02 * rng.random() * wave(rng, times, 0.3)[:, None] * [1, 0, -1]
    return still * np.exp(drift + balance)


def _draw_passes(rng: np.random.Generator, face: float) -> tuple[Pass, ...]:
    least, usual, most = CRF
    most = SMALL_CRF + (most - SMALL_CRF) * float(np.clip((face - SMALL[0]) / (SMALL[1] - SMALL[0]), 0, 1))
    crf = round(rng.triangular(least, usual, most), 1)
    last = Pass(crf, 1.0, int(rng.integers(12, 120)), str(rng.choice(PRESETS)))
    first = Pass(round(rng.uniform(*FIRST_CRF), 1), float(rng.choice(SCALES)), 250, PRESETS[0])
    return (first, last) if rng.random() < 0.5 else (last,)
