"""468 landmarks of a face in native pixels, by a published mesh network (Apache-2.0) on the clip's own pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mrigan.published import FACE_MESH, published_file

POINTS = 468
SIDE = 192  # px of the network's square input
WIDEN = 1.5  # the crop's side over the longer side of MTCNN's box
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

    def __call__(
        self, image: np.ndarray, box: Sequence[float], points: Sequence[Sequence[float]] | None = None
    ) -> Landmarks:
        """Find the landmarks of one face.

        Args:
            image: (H, W, 3) uint8 RGB. box: (x0, y0, x1, y1) of the face in px.
            points: MTCNN's five; with them, the crop is turned so that the eyes are level.
        """
        to_image = _crop_to_image(box, points)
        crop = cv2.warpAffine(image, to_image, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        self._net.setInput(np.ascontiguousarray(crop.transpose(2, 0, 1)[None], np.float32) / 255)
        places, presence = self._net.forward([PLACES, PRESENCE])
        points3 = places.reshape(POINTS, 3).astype(np.float64)
        xy = points3[:, :2] @ to_image[:, :2].T + to_image[:, 2]
        z = points3[:, 2:] * np.hypot(*to_image[:, 0])
        return Landmarks(np.hstack([xy, z]).astype(np.float32), float(presence.item()))


def _crop_to_image(box: Sequence[float], points: Sequence[Sequence[float]] | None) -> np.ndarray:
    """(2, 3): where a px of the square crop lies in the picture."""
    x0, y0, x1, y1 = box
    scale = max(x1 - x0, y1 - y0) * WIDEN / SIDE
    angle = 0.0
    if points is not None:
        (left_x, left_y), (right_x, right_y) = points[0], points[1]
        angle = np.arctan2(right_y - left_y, right_x - left_x)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    return np.hstack([turn, (centre - turn @ [SIDE / 2, SIDE / 2])[:, None]])
