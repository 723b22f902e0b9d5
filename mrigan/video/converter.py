"""Decoded pictures as RGB, as displayed, all of a clip at one size."""

from __future__ import annotations

from typing import Any

import numpy as np
from av.video.reformatter import VideoReformatter

from mrigan.video.container import as_displayed, check_size, display_matrix, is_turned
from mrigan.video.sizes import Size, canvas, square


class Converter:
    """Decoded picture → RGB as displayed, all frames at one size.

    Attributes:
        size: (w, h) in px at which all frames are shown, None before the first.
    """

    def __init__(self, where: str, sizes: frozenset[Size], ratio: float) -> None:
        self._where, self._sizes, self._ratio = where, sizes, ratio
        self.size: Size | None = None
        self._reformatter = VideoReformatter()

    def shape(self, picture: Any) -> Size:
        """The (w, h) of a picture as displayed, with square pixels, at its own size."""
        width, height = square((picture.width, picture.height), self._ratio)
        matrix = display_matrix(picture)
        return (height, width) if matrix is not None and is_turned(matrix) else (width, height)

    def __call__(self, picture: Any) -> np.ndarray:
        check_size(picture.width, picture.height, self._where)
        matrix = display_matrix(picture)
        turned = matrix is not None and is_turned(matrix)
        width, height = own = square((picture.width, picture.height), self._ratio)
        if self.size is None:
            largest = square(canvas(self._sizes, (picture.width, picture.height)), self._ratio)
            check_size(*largest, self._where)
            self.size = largest[::-1] if turned else largest
        room = self.size[::-1] if turned else self.size
        if own != room:
            scale = min(room[0] / width, room[1] / height)
            width, height = max(round(width * scale), 1), max(round(height * scale), 1)
        rgb = self._reformatter.reformat(picture, width=width, height=height, format="rgb24", threads=1)
        image = as_displayed(rgb.to_ndarray(), matrix)
        return image if image.shape[1::-1] == self.size else _in_the_middle(image, self.size)


def _in_the_middle(image: np.ndarray, size: Size) -> np.ndarray:
    """A smaller picture in a black one of `size`."""
    (h, w), (width, height) = image.shape[:2], size
    whole = np.zeros((height, width, 3), np.uint8)
    y, x = (height - h) // 2, (width - w) // 2
    whole[y : y + h, x : x + w] = image
    return whole
