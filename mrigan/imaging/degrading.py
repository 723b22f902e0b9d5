"""What pictures lose on their way to a viewer: size, and detail in JPEG and H.264; the same for both of a pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np

from mrigan.imaging.encoding import jpeg
from mrigan.imaging.h264 import to_frame, to_image

Rng = np.random.Generator
X264 = {"preset": "veryfast", "tune": "zerolatency", "threads": "1"}
SMALLEST = 32  # px, of a picture that is encoded


@dataclass(frozen=True)
class Degradation:
    """How much pictures may lose.

    Args:
        face_px: the face's width in the picture that is encoded, at most as it is; with `small_prob`.
        jpeg: quality, with `jpeg_prob`. crf: x264's rate factor, with `h264_prob`, and again with `twice_prob`.
    """

    face_px: tuple[int, int] = (80, 300)
    small_prob: float = 0.5
    jpeg: tuple[int, int] = (40, 100)
    jpeg_prob: float = 0.5
    crf: tuple[int, int] = (18, 40)
    h264_prob: float = 0.5
    twice_prob: float = 0.3


def degrade(
    pictures: Sequence[np.ndarray], face_px: float, rng: Rng, recipe: Degradation = Degradation()
) -> list[np.ndarray]:
    """Take the same from each picture.

    Args:
        pictures: (H, W, 3) uint8 RGB, all of one size. face_px: the face's width in them.
        rng: all that is random comes from it.

    Returns:
        As many pictures of the same size.
    """
    h, w = pictures[0].shape[:2]
    small = 1.0
    if rng.random() < recipe.small_prob:
        low, high = recipe.face_px
        small = min(np.exp(rng.uniform(np.log(low), np.log(high))) / face_px, 1.0)  # each halving is as likely
    size = max(round(w * small), min(SMALLEST, w)), max(round(h * small), min(SMALLEST, h))
    up = cv2.INTER_CUBIC if rng.random() < 0.5 else cv2.INTER_LINEAR
    quality = int(rng.integers(recipe.jpeg[0], recipe.jpeg[1] + 1)) if rng.random() < recipe.jpeg_prob else None
    times = (1 + (rng.random() < recipe.twice_prob)) if rng.random() < recipe.h264_prob else 0
    crfs = [int(rng.integers(recipe.crf[0], recipe.crf[1] + 1)) for _ in range(times)]
    pan = tuple(int(step) for step in rng.integers(-3, 4, 2))
    out = []
    for picture in pictures:
        image = picture if size == (w, h) else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        if quality is not None:
            image = jpeg(image, quality)
        for crf in crfs:
            image = h264(image, crf, pan)
        out.append(image if size == (w, h) else cv2.resize(image, (w, h), interpolation=up))
    return out


def h264(image: np.ndarray, crf: int, pan: tuple[int, ...]) -> np.ndarray:
    """A picture of a clip that x264 encoded, decoded: the second, predicted from one that lies `pan` px beside it.

    Args:
        image: (H, W, 3) uint8 RGB. crf: 0...51, larger = coarser. pan: (x, y) px.
    """
    h, w = image.shape[:2]
    even = cv2.copyMakeBorder(image, 0, h % 2, 0, w % 2, cv2.BORDER_REPLICATE)  # 4:2:0
    beside = cv2.warpAffine(even, np.array([[1.0, 0, pan[0]], [0, 1, pan[1]]]), even.shape[1::-1],
                            flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = even.shape[1], even.shape[0], "yuv420p"
    encoder.time_base, encoder.options = Fraction(1, 25), X264 | {"crf": str(crf)}
    decoder: Any = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    packets = []
    for number, picture in enumerate((beside, even)):
        frame = to_frame(picture)
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    frames = [frame for packet in packets for frame in decoder.decode(packet)] + decoder.decode(None)
    return to_image(frames[-1])[:h, :w]
