"""Encoded pictures → uint8 planes."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mrigan.imaging import encoding

Picture = npt.NDArray[np.uint8]
JPEG = b"\xff\xd8"  # its first bytes
_WHOLE = ((JPEG, b"\xff\xd9"), (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"))  # first and last bytes of JPEG and PNG


class DecodeError(ValueError):
    """The bytes are no whole JPEG or PNG picture."""


def decode(data: bytes | memoryview) -> Picture:
    """A JPEG or PNG as (H, W, 3) uint8 RGB.

    Raises:
        DecodeError: no picture, or one cut short.
    """
    check_whole(data)
    image = encoding.decode(data)
    if image is None:
        raise DecodeError("cannot be decoded")
    return image


def check_whole(data: bytes | memoryview) -> None:
    """See that the first and last bytes are a picture's: what a cut file lacks.

    Raises:
        DecodeError: they are not.
    """
    if not any(data[: len(first)] == first and data[-len(last) :] == last for first, last in _WHOLE):
        raise DecodeError("is not a whole JPEG or PNG picture")


def split_into(image: Picture, planes: Picture) -> None:
    """Copy (H, W, 3) into (3, H, W) memory, in one pass."""
    cv2.split(image, [planes[0], planes[1], planes[2]])
