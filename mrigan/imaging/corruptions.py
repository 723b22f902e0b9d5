"""What happens to videos on their way: ten corruptions in five severities each, for testing a detector's robustness.

The kinds and the steps of saturation, contrast, blocks, noise and resizing follow DeeperForensics-1.0 (Jiang et al.,
2020); text and shapes are the distractions of MRI-GAN, section 3. All work on the faces of one person in the order of
time, (S, S, 3) uint8 RGB each; lengths in px are given for S = 256 and scaled.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import av
import cv2
import numpy as np

from mrigan.imaging import arrays
from mrigan.imaging.distraction import COLOURS, draw_shape, draw_text, shape_size, text_size
from mrigan.imaging.encoding import jpeg
from mrigan.imaging.h264 import to_frame, to_image
from mrigan.imaging.noise import gaussian, noise_field

SIDE = 256
BLOCK = 8  # px
X264 = {"preset": "medium", "threads": "1", "rc-lookahead": "0"}  # several threads may disagree
KEYFRAMES = 12  # faces between key frames
Clip = Sequence[np.ndarray]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


@dataclass(frozen=True)
class Corruption:
    """One kind.

    Attributes:
        levels: what it is given, from the mildest to the worst. unit: of the levels.
        apply: (faces, level, generator) → faces.
    """

    levels: tuple[float, float, float, float, float]
    unit: str
    apply: Callable[[Clip, float, np.random.Generator], list[np.ndarray]]


def corrupt(faces: Clip, name: str, severity: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Apply the corruption `name` in a severity of 1..5; the faces stay as they are."""
    kind = CORRUPTIONS[name]
    return kind.apply(faces, kind.levels[severity - 1], rng)


def _each(change: Callable[..., np.ndarray]) -> Callable[[Clip, float, np.random.Generator], list[np.ndarray]]:
    return lambda faces, level, rng: [change(face, level, rng) for face in faces]


def _h264(faces: Clip, crf: float, _: np.random.Generator) -> list[np.ndarray]:
    """Encode the faces as a clip of their own by x264 at a constant rate factor, and decode it."""
    if not len(faces):
        return []
    side = faces[0].shape[0] // 2 * 2  # 4:2:0 wants an even side
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream: Any = container.add_stream("libx264", rate=25, options=X264 | {"crf": str(int(crf))})
        stream.width = stream.height = side
        stream.pix_fmt, stream.gop_size = "yuv420p", KEYFRAMES
        for face in faces:
            container.mux(stream.encode(to_frame(face[:side, :side])))
        container.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer, "r", format="matroska") as container:
        decoded = [to_image(frame) for frame in container.decode(video=0)]
    assert len(decoded) == len(faces)
    results = [np.array(face) for face in faces]
    for result, inner in zip(results, decoded, strict=True):
        result[:side, :side] = inner
    return results


def _jpeg(face: np.ndarray, quality: float, rng: np.random.Generator) -> np.ndarray:
    return jpeg(face, int(quality))


def _blur(face: np.ndarray, sigma: float, _: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(face, (0, 0), sigma * face.shape[0] / SIDE)


def _noise(face: np.ndarray, variance: float, rng: np.random.Generator) -> np.ndarray:
    return gaussian(face, noise_field(rng, face), variance)


def _resize(face: np.ndarray, factor: float, _: np.random.Generator) -> np.ndarray:
    width, height = arrays.size(face)
    small = arrays.resize(face, (max(1, round(width / factor)), max(1, round(height / factor))))
    return arrays.resize(small, (width, height), "linear")


def _saturation(face: np.ndarray, factor: float, _: np.random.Generator) -> np.ndarray:
    grey = arrays.luma(face)[..., None].astype(np.float32)
    return np.clip(np.rint(grey + factor * (face - grey)), 0, 255).astype(np.uint8)


def _contrast(face: np.ndarray, factor: float, _: np.random.Generator) -> np.ndarray:
    return arrays.linear(face, factor, face.mean(dtype=np.float64) * (1 - factor))


def _blocks(face: np.ndarray, count: float, rng: np.random.Generator) -> np.ndarray:
    """Squares of one random colour each, at random places."""
    face = face.copy()
    block = max(1, round(BLOCK * face.shape[0] / SIDE))
    for _ in range(int(count)):
        y, x = (int(rng.integers(0, side - block + 1)) for side in face.shape[:2])
        face[y : y + block, x : x + block] = rng.integers(0, 256, 3)
    return face


def _text(faces: Clip, scale: float, rng: np.random.Generator) -> list[np.ndarray]:
    """The same eight letters and digits at the same place in all faces."""
    text = "".join(LETTERS[i] for i in rng.integers(0, len(LETTERS), 8))
    colour, part = _colour(rng), rng.random(2)

    def write(face: np.ndarray) -> np.ndarray:
        grown = scale * face.shape[0] / SIDE
        thick = max(1, round(2 * grown))
        return draw_text(face, _at(face, text_size(text, grown, thick), part), text, scale=grown, thickness=thick,
                         colour=colour)  # fmt: skip

    return [write(face) for face in faces]


def _shape(faces: Clip, size: float, rng: np.random.Generator) -> list[np.ndarray]:
    """The same circle or rectangle at the same place in all faces."""
    shape, colour, part = ("circle", "rectangle")[int(rng.integers(2))], _colour(rng), rng.random(2)

    def draw(face: np.ndarray) -> np.ndarray:
        thing = shape_size(shape, size, (face.shape[1], face.shape[0]))
        return draw_shape(face, _at(face, thing, part), shape, size=size, colour=colour)

    return [draw(face) for face in faces]


def _colour(rng: np.random.Generator) -> str:
    return list(COLOURS)[int(rng.integers(len(COLOURS)))]


def _at(face: np.ndarray, thing: tuple[int, int], part: np.ndarray) -> tuple[int, int]:
    """Where a thing starts, if `part` of the room that it has is left of and above it."""
    return tuple(int(p * (room - side)) for p, room, side in zip(part, face.shape[1::-1], thing, strict=True))  # type: ignore[return-value]


CORRUPTIONS = {
    "h264": Corruption((23, 28, 32, 36, 40), "CRF", _h264),
    "jpeg": Corruption((75, 50, 30, 20, 10), "quality", _each(_jpeg)),
    "blur": Corruption((1, 1.5, 2, 3, 4), "sigma, px", _each(_blur)),
    "noise": Corruption((0.001, 0.002, 0.005, 0.01, 0.05), "variance", _each(_noise)),
    "resize": Corruption((2, 3, 4, 5, 6), "times smaller", _each(_resize)),
    "saturation": Corruption((0.4, 0.3, 0.2, 0.1, 0), "factor", _each(_saturation)),
    "contrast": Corruption((0.85, 0.725, 0.6, 0.475, 0.35), "factor", _each(_contrast)),
    "blocks": Corruption((16, 32, 48, 64, 80), "blocks", _each(_blocks)),
    "text": Corruption((0.5, 1, 1.5, 2, 3), "px a unit", _text),
    "shape": Corruption((0.05, 0.08, 0.12, 0.2, 0.3), "of the width", _shape),
}
