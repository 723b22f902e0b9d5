"""Real video files for tests, written by PyAV: any container, codec, pixel format, rotation and timing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

TICKS = 12_800  # time base of a clip with its own `pts`, per second


def write_clip(  # noqa: PLR0917
    path: str | Path,
    frames: Iterable[np.ndarray],
    fps: float = 25,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rotation: int | None = None,
    pts: Sequence[float] | None = None,
    audio: bool = False,
    options: dict[str, str] | None = None,
    movflags: str = "",
) -> Path:
    """Write `frames` ((H, W, 3) uint8 RGB) as a clip; the container follows from the name.

    Args:
        rotation: degrees counterclockwise that a player must turn the stored picture by (display matrix), or None.
        pts: seconds of each frame, for a variable frame rate; None = constant `fps`.
        audio: add a silent audio track (AAC, or Opus in webm).
        options: of the encoder, e.g. `{"crf": "12", "bf": "3"}`; lossless H.264 is `{"qp": "0"}`.
        movflags: e.g. `"faststart"`.
    """
    path = Path(path)
    rate = Fraction(fps).limit_denominator(1001)
    tick = Fraction(1, TICKS) if pts is not None else 1 / rate
    with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as container:
        stream: Any = None
        sound = _sound(container, "libopus" if path.suffix == ".webm" else "aac") if audio else None
        count = 0
        for i, image in enumerate(frames):
            if stream is None:
                stream = container.add_stream(codec, rate=rate, options=options or {})
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = pix_fmt
                stream.codec_context.time_base = tick
                stream.codec_context.thread_count = 1
                if rotation is not None:
                    stream.set_display_rotation(rotation)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = (round(pts[i] / tick), tick) if pts is not None else (i, tick)
            container.mux(stream.encode(frame))
            count += 1
        if stream is not None:
            container.mux(stream.encode())
        if sound is not None:
            _silence(container, sound, count / float(rate))
    return path


def write_audio(path: str | Path, seconds: float = 1.0, cover: bytes | None = None) -> Path:
    """A silent audio file (AAC); with `cover` (bytes of a JPEG) also an attached picture, which is no video."""
    with av.open(str(path), "w", format="mp4") as container:
        sound = _sound(container, "aac")
        picture: Any = None
        if cover is not None:
            picture = container.add_stream("mjpeg", rate=1)
            image = cv2.imdecode(np.frombuffer(cover, np.uint8), cv2.IMREAD_COLOR)
            picture.height, picture.width = image.shape[:2]
            picture.pix_fmt = "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
        _silence(container, sound, seconds)
        if picture is not None:
            packet = av.Packet(cover)
            packet.stream, packet.pts, packet.dts, packet.is_keyframe = picture, 0, 0, True
            container.mux(packet)
    return Path(path)


def counter_frames(count: int, size: tuple[int, int] = (192, 128)) -> list[np.ndarray]:
    """`count` frames of (w, h) `size` that carry their index as 10 black or white squares, read by `read_counter`."""
    w, h = size
    frames = []
    for i in range(count):
        image = np.full((h, w, 3), 96, np.uint8)
        image[:, :, 1] = np.linspace(40, 200, w, dtype=np.uint8)[None]
        for bit in range(10):
            x, y = (bit % 5) * (w // 5), (bit // 5) * (h // 2)
            image[y : y + h // 2, x : x + w // 5] = 235 if i >> bit & 1 else 16
        frames.append(image)
    return frames


def read_counter(image: np.ndarray) -> int:
    """The index that `counter_frames` drew, also after lossy coding."""
    h, w = image.shape[:2]
    bits = ((bit, (bit % 5) * (w // 5), (bit // 5) * (h // 2)) for bit in range(10))
    return sum(
        int(image[y + h // 8 : y + 3 * h // 8, x + w // 20 : x + 3 * w // 20].mean() > 126) << bit for bit, x, y in bits
    )


def _sound(container: Any, codec: str) -> Any:
    stream = container.add_stream(codec, rate=48_000)
    stream.layout = "mono"
    return stream


def _silence(container: Any, stream: Any, seconds: float) -> None:
    size = 960
    for i in range(int(seconds * 48_000) // size):
        sample = stream.format.name
        kind = np.float32 if sample.startswith("flt") else np.int16
        frame = av.AudioFrame.from_ndarray(np.zeros((1, size), kind), format=sample, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, i * size, Fraction(1, 48_000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())
