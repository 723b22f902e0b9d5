"""How MRIs are stored: as JPEG without chroma subsampling, or as PNG."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mrigan.imaging.encoding import encode

MRI_FORMATS = ("jpg", "png")


@lru_cache(maxsize=4)
def black(size: int, extension: str, quality: int = 95) -> bytes:
    """The MRI of every real face: a black (size, size) picture."""
    return encode(np.zeros((size, size, 3), np.uint8), extension, quality)
