"""dlib's 68 points of a face: a second source beside the mesh, for research only.

The model learned from 300-W, whose terms exclude commercial use. `pip install 'mrigan[dlib]'` brings it; nothing else
needs it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mrigan.errors import ModelError
from mrigan.imaging.picture import Picture, to_host

# dlib's box of a face over MTCNN's (width, height): the medians of 220 faces on which both found one
SIDE, RIGHT, DOWN = 0.774, 0.022, 0.077  # parts of MTCNN's height: side of the square, its centre from the box's


class DlibPoints:
    """dlib's shape predictor. It always answers: that a face is there must be known.

    Raises:
        ModelError: the extra is not installed.
    """

    def __init__(self) -> None:
        try:
            import dlib
            from face_recognition_models import pose_predictor_model_location
        except ImportError as error:
            raise ModelError(f"dlib's points are not installed: {error}", fix="pip install 'mrigan[dlib]'") from None
        self._rectangle = dlib.rectangle
        self._predict = dlib.shape_predictor(str(pose_predictor_model_location()))

    def __call__(self, image: Picture, box: Sequence[float]) -> NDArray[np.float64]:
        """(68, 2) px.

        Args:
            image: (H, W, 3) uint8 RGB. box: (x0, y0, x1, y1) of the face in px, as MTCNN finds it.
        """
        x0, y0, x1, y1 = box
        height = y1 - y0
        x, y, reach = (x0 + x1) / 2 + RIGHT * height, (y0 + y1) / 2 + DOWN * height, SIDE * height / 2
        corners = (round(edge) for edge in (x - reach, y - reach, x + reach, y + reach))
        shape = self._predict(np.ascontiguousarray(to_host(image)), self._rectangle(*corners))
        return np.array([(point.x, point.y) for point in shape.parts()], np.float64)
