"""Encode H.264 in mp4 with PyAV; the bytes depend only on the frames."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

# One thread, because x264's output depends on the number of threads. Originals and fakes have the same settings.
X264 = {"crf": "18", "preset": "superfast", "threads": "1"}


class ClipWriter:
    """Writes (H, W, 3) RGB frames of 0..255, float or uint8; `close` finishes the file."""

    def __init__(self, path: Path, fps: int, size: tuple[int, int]) -> None:
        self._container = av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"})
        self._stream = self._container.add_stream("libx264", rate=fps, options=dict(X264))
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.thread_count = 1

    def write(self, image: np.ndarray) -> None:
        pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
        for packet in self._stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
            self._container.mux(packet)

    def close(self) -> None:
        for packet in self._stream.encode():
            self._container.mux(packet)
        self._container.close()
