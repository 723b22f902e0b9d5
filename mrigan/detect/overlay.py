"""What a page shows of a face: JPEGs inside it, and the MRI as a heat map where the face was."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2
import numpy as np

from mrigan.detect.pictures import Example, Scene
from mrigan.imaging import arrays
from mrigan.imaging.encoding import encode

QUALITY, QUALITY_SCENE = 88, 82  # JPEG
OPAQUE = 0.85  # the heat map's opacity where the MRI is 1
BOX = (255, 214, 10)  # RGB, seen on skin, hair and most walls
LEVELS = 12  # colours of the legend


def data_uri(picture: np.ndarray, size: int = 0, quality: int = QUALITY) -> str:
    """An (H, W, 3) uint8 RGB picture as a JPEG (4:4:4) inside a data URI.

    Args:
        size: px, the side of a square that it is brought to; 0 = as it is.
    """
    if size:
        picture = arrays.resize(picture, (size, size))
    return "data:image/jpeg;base64," + base64.b64encode(encode(picture, "jpg", quality)).decode()


def scene_pictures(example: Example) -> list[tuple[str, str]]:
    """Of a face with its scene: (what it is, data URI) of the frame with the box and the MRI in its place, of the
    close-up, and of the close-up with the MRI."""
    scene = example.scene
    assert scene is not None
    frame, close = scene.frame, scene.close
    if example.mri is None:
        pictures = [("the frame, with the face's box", boxed(frame, scene.box)), ("close-up", close)]
    else:
        pictures = [
            ("the frame, with the face's box and its MRI as a heat map", with_heat(scene, example.mri)),
            ("close-up", close),
            ("close-up with the MRI as a heat map", heated(close, example.mri, scene.close_cut)),
        ]
    return [(what, data_uri(picture, quality=QUALITY_SCENE)) for what, picture in pictures]


def with_heat(scene: Scene, mri: np.ndarray) -> np.ndarray:
    """The scene's frame with the MRI in its place, and the box around the face."""
    return boxed(heated(scene.frame, mri, scene.cut), scene.box)


def heated(picture: np.ndarray, mri: np.ndarray, cut: Sequence[float]) -> np.ndarray:
    """The picture with the MRI laid over the part that it was predicted for.

    The face was stretched to a square for the networks, and its MRI is stretched back. Strength is the mean of the
    MRI's channels; where it is 0 the picture is unchanged.

    Args:
        picture: (H, W, 3) uint8 RGB. mri: (S, S, 3) uint8. cut: (x0, y0, x1, y1) in px of `picture`.
    """
    h, w = picture.shape[:2]
    x0, y0, x1, y1 = (float(v) for v in cut)
    size = len(mri)
    # Pixel centres: the middle of MRI pixel i lies at x0 + (i + ½) (x1 - x0) / S, in px whose middles are at ½.
    sx, sy = (x1 - x0) / size, (y1 - y0) / size
    warp = np.array([[sx, 0, x0 + sx / 2 - 0.5], [0, sy, y0 + sy / 2 - 0.5]])
    strength = mri.astype(np.float32).mean(2) / 255
    if max(sx, sy) < 1:  # shrunk: mean over what falls into a pixel, where a warp would pick one
        side = (max(1, round(x1 - x0)), max(1, round(y1 - y0)))
        strength = cv2.resize(strength, side, interpolation=cv2.INTER_AREA)
        sx, sy = (x1 - x0) / side[0], (y1 - y0) / side[1]
        warp = np.array([[sx, 0, x0 + sx / 2 - 0.5], [0, sy, y0 + sy / 2 - 0.5]])
    placed = np.clip(cv2.warpAffine(strength, warp, (w, h), flags=cv2.INTER_LINEAR), 0, 1)
    alpha = opacity(placed)[..., None]
    return (picture * (1 - alpha) + colours(placed) * alpha).round().astype(np.uint8)


def opacity(strength: np.ndarray) -> np.ndarray:
    """How far the heat map covers the picture, 0..`OPAQUE`, at strengths 0..1; its root, so that little is seen too."""
    return OPAQUE * np.sqrt(strength)


def colours(strength: np.ndarray) -> np.ndarray:
    """Strengths 0..1 of any shape as uint8 RGB (…, 3): dark violet over red to pale yellow (inferno, which the
    colour-blind and a grey print can order)."""
    levels = (np.asarray(strength) * 255).round().astype(np.uint8)
    return cv2.applyColorMap(levels.reshape(-1, 1), cv2.COLORMAP_INFERNO)[:, 0, ::-1].reshape((*levels.shape, 3))


def legend() -> list[str]:
    """The heat map's colours from 0 to 1 over a middle grey, as #rrggbb."""
    strength = np.linspace(0, 1, LEVELS)
    alpha = opacity(strength)[:, None]
    mixed = (128 * (1 - alpha) + colours(strength) * alpha).round().astype(int)
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in mixed]


def boxed(picture: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """A copy with the box drawn: bright, with a dark edge on both sides."""
    drawn = np.ascontiguousarray(picture.copy())
    x0, y0, x1, y1 = (round(float(v)) for v in box)
    cv2.rectangle(drawn, (x0, y0), (x1, y1), (0, 0, 0), 4)
    cv2.rectangle(drawn, (x0, y0), (x1, y1), BOX, 2)
    return drawn
