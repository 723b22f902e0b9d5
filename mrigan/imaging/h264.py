"""RGB pictures as the frames that a video encoder takes, 4:2:0, and back.

By OpenCV: FFmpeg's conversion rounds by where a picture lies in memory.
"""

from __future__ import annotations

from typing import Any

import av
import cv2
import numpy as np


def to_frame(image: np.ndarray) -> av.VideoFrame:
    """(H, W, 3) uint8 RGB of even sides → yuv420p."""
    planes: Any = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2YUV_I420)
    return av.VideoFrame.from_ndarray(planes, "yuv420p")


def to_image(frame: av.VideoFrame) -> np.ndarray:
    """yuv420p → (H, W, 3) uint8 RGB."""
    return cv2.cvtColor(frame.to_ndarray(format="yuv420p"), cv2.COLOR_YUV2RGB_I420)
