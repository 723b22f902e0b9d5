"""468 landmarks of a face in native pixels, by a published mesh network (Apache-2.0) on the clip's own pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mrigan.imaging.coordinates import on_grid
from mrigan.imaging.picture import Picture, to_host
from mrigan.published import FACE_MESH, published_file

POINTS = 468
SIDE = 192  # px of the network's square input
WIDEN = 1.5  # the crop's side over the longer side of MTCNN's box
MAX_TILT, MAX_LOOKS = math.radians(8), 3
GRID = 0.25  # px, of landmarks that are stored: a hundredth of their error
MIN_PRESENCE = 10.0  # a logit: 20 and more on faces seen from the front, -8 on black
PLACES, PRESENCE = "conv2d_21", "conv2d_31"  # the network's outputs; the second is no official one
EYES, NOSE, MOUTH = ((33, 133), (362, 263)), 4, (61, 291)  # corners of each eye; MTCNN's points lie between them


@dataclass(frozen=True)
class Landmarks:
    """The mesh of one face.

    Args:
        points: (468, 3) float32: x and y in px of the picture given, z in the same unit, smaller = nearer.
        presence: logit of "this is a face"; below `MIN_PRESENCE` the points mean nothing.
    """

    points: np.ndarray
    presence: float

    @property
    def found(self) -> bool:
        return self.presence >= MIN_PRESENCE

    def stored(self, scale: Sequence[float] = (1.0, 1.0)) -> list[list[float]] | None:
        """468 × [x, y] in multiples of `GRID`, as a sample's json has them; None if there is no face.

        Args:
            scale: (x, y) that the points are multiplied by.
        """
        return on_grid(self.points[:, :2].astype(np.float64) * scale, GRID).tolist() if self.found else None

    def five(self) -> np.ndarray:
        """(5, 2): eyes, nose, corners of the mouth, in the order of MTCNN's points."""
        xy = self.points[:, :2]
        return np.stack([*(xy[list(corners)].mean(axis=0) for corners in EYES), xy[NOSE], *xy[list(MOUTH)]])


class FaceMesh:
    """The network, run by OpenCV on one thread: 3 CPU-ms a face.

    Raises:
        ModelError: it was never fetched, or is damaged.
    """

    def __init__(self) -> None:
        # OpenCV's newer engine gives one output a pass; the classic one gives both.
        path = str(published_file(FACE_MESH))
        self._net = cv2.dnn.readNetFromTFLite(path, engine=cv2.dnn.ENGINE_CLASSIC)

    def __call__(self, image: Picture, box: Sequence[float]) -> Landmarks:
        """Find the landmarks of one face.

        A face that is tilted by more than `MAX_TILT` is looked at again, turned upright: the network knows few such.

        Args:
            image: (H, W, 3) uint8 RGB. box: (x0, y0, x1, y1) of the face in px.
        """
        corner, near = _surroundings(image, box)
        local = np.asarray(box, np.float64) - [*corner, *corner]
        tilt = 0.0
        for _ in range(MAX_LOOKS):
            found = self._look(near, local, tilt)
            (left_x, left_y), (right_x, right_y) = found.five()[:2]
            before, tilt = tilt, math.atan2(right_y - left_y, right_x - left_x)
            if not found.found or abs(tilt - before) <= MAX_TILT:
                break
        points = found.points + np.array([*corner, 0], np.float32)
        return Landmarks(points, found.presence)

    def _look(self, image: np.ndarray, box: np.ndarray, tilt: float) -> Landmarks:
        to_image = _crop_to_image(box, tilt)
        crop = cv2.warpAffine(image, to_image, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        self._net.setInput(np.ascontiguousarray(crop.transpose(2, 0, 1)[None], np.float32) / 255)
        places, presence = self._net.forward([PLACES, PRESENCE])
        mesh = places.reshape(POINTS, 3).astype(np.float64)
        xy = mesh[:, :2] @ to_image[:, :2].T + to_image[:, 2]
        z = mesh[:, 2:] * np.hypot(*to_image[:, 0])
        return Landmarks(np.hstack([xy, z]).astype(np.float32), float(presence.item()))


def _surroundings(image: Picture, box: Sequence[float]) -> tuple[tuple[int, int], np.ndarray]:
    """The part of a picture that a crop can show, however it is turned, and where its corner lies."""
    x0, y0, x1, y1 = box
    reach = max(x1 - x0, y1 - y0) * WIDEN / 2 * math.sqrt(2) + 2
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    left, top = max(int(x - reach), 0), max(int(y - reach), 0)
    return (left, top), to_host(image[top : max(int(y + reach), 1), left : max(int(x + reach), 1)])


def _crop_to_image(box: np.ndarray, tilt: float) -> np.ndarray:
    """(2, 3): where a px of the square crop lies in the picture.

    Args:
        tilt: of the eyes, in radians.
    """
    x0, y0, x1, y1 = box
    scale = max(x1 - x0, y1 - y0) * WIDEN / SIDE
    turn = scale * np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    return np.hstack([turn, (centre - turn @ [SIDE / 2, SIDE / 2])[:, None]])
