"""Places in a picture: the grid that they are rounded to, and when a box lies in a picture."""

from __future__ import annotations

from typing import Any

import numpy as np

GRID = 1 / 64  # px: boxes and points are multiples of it, so that the last bits of a processor or a batch do not matter
INSIDE = 0.9  # of a box's area must lie in a picture that shows its face whole


def on_grid(values: Any, step: float = GRID) -> Any:
    """Numbers or arrays of them, rounded to multiples of `step`, a power of two."""
    return np.rint(np.asarray(values) / step) * step
