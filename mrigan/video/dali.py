"""Frames decoded by NVIDIA DALI: on the GPU by NVDEC, on the CPU for VP8, VP9 and MJPEG.

DALI sees no file, only packets that were taken out of one (`packets.py`). What it would not decode as PyAV does,
`DaliSource.refusal` names before anything is decoded: other codecs and pixel formats, colours that it would take for
BT.601 in video range, damage. So an index means the same frame whoever decodes.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from mrigan.errors import ConfigError
from mrigan.imaging.picture import Picture
from mrigan.video.container import as_displayed
from mrigan.video.frames import Decoded, Frame
from mrigan.video.packets import RefusedError, Stream, taken_apart
from mrigan.video.source import DecoderError

CODECS = {"cpu": {"vp8", "vp9", "mjpeg"}, "cuda": {"h264", "hevc", "vp8", "vp9", "av1", "mpeg4"}}
PIXELS = {
    "cpu": {"yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p"},
    "cuda": {"yuv420p"},  # which other formats NVDEC takes depends on the card; DALI has 8 bits
}
BT601 = {2, 5, 6}  # AVColorSpace: not stated, BT.470BG, SMPTE 170M. DALI takes all for these
FULL_RANGE = 2  # AVColorRange; DALI's CPU decoder goes by the yuvj formats alone
CHUNK = 256 * 2**20  # bytes of decoded frames at a time


class DaliSource:
    """DALI as a `FrameSource`.

    Args:
        device: `cuda` = NVDEC on the current GPU, or `cpu`.

    Raises:
        ConfigError: DALI is not installed, or there is no GPU.
    """

    name = "dali"

    def __init__(self, device: str = "cuda") -> None:
        self.device = device
        _pipeline(device)

    def refusal(self, path: str | Path) -> str:
        """Why this clip is left to PyAV, "" if it is not.

        Raises:
            InputError: as `read_frames`, before the first frame.
        """
        try:
            with _suitable(path, self.device):
                return ""
        except RefusedError as reason:
            return str(reason)

    def read(self, path: str | Path, every: int = 10, indices: Collection[int] | None = None) -> Iterator[Frame]:
        """As `read_frames`.

        Raises:
            DecoderError: the clip is refused, or DALI fails.
            InputError: as `read_frames`, before the first frame.
        """
        for decoded in self.decode(path, lambda i: i in indices if indices is not None else i % every == 0):
            yield decoded.frame()

    def decode(self, path: str | Path, needed: Callable[[int], bool] | None = None) -> Generator[Decoded, None, int]:
        """As `frames.decode`; exactly the needed frames come. Raises as `read`."""
        try:
            with _suitable(path, self.device) as stream:
                count = len(stream.packets)
                indices = [i for i in range(count) if needed is None or needed(i)]
                width, height = stream.size
                step = max(CHUNK // (3 * width * height), 1)
                for start in range(0, len(indices), step):
                    chunk = indices[start : start + step]
                    for index, image in zip(chunk, self._decoded(stream, chunk, path), strict=True):
                        yield Decoded(index, stream.times[index], image, partial(as_displayed, matrix=stream.matrix))
                return count
        except RefusedError as reason:
            raise DecoderError(
                f"DALI does not decode this clip: {reason}", where=str(path), fix="video.decoder=auto"
            ) from None

    def _decoded(self, stream: Stream, indices: list[int], path: str | Path) -> Picture:
        """The frames `indices`, (n, h, w, 3) uint8 RGB as stored, on the source's device."""
        data, places = stream.part(indices)
        pipeline = _pipeline(self.device)
        try:
            pipeline.feed_input("clip", [np.frombuffer(data, np.uint8)])
            pipeline.feed_input("frames", [np.array(places, np.int32)])
            (out,) = pipeline.run()
            images = _taken(out, self.device)
        except RuntimeError as error:
            _pipeline.cache_clear()  # a pipeline that failed once is of no more use
            raise DecoderError(f"DALI cannot decode the clip: {_reason(error)}", where=str(path)) from None
        if tuple(images.shape[1:]) != (stream.size[1], stream.size[0], 3):
            raise DecoderError(f"DALI gives frames of the shape {images.shape[1:]}", where=str(path))
        return images


def _taken(out: Any, device: str) -> Picture:
    """DALI's output: an array on the CPU, or by DLPack a tensor on the GPU, where it lies.

    The tensor is a copy, waited for: DALI takes its memory back, and writes into it on a stream of its own, as soon as
    the last name of it is gone, whatever torch still has to read.
    """
    if device == "cpu":
        return np.array(out.as_cpu().at(0))
    import torch

    frames = torch.from_dlpack(out[0]).clone()
    torch.cuda.current_stream().synchronize()
    return frames


@contextmanager
def _suitable(path: str | Path, device: str) -> Iterator[Stream]:
    with taken_apart(path, CODECS[device], PIXELS[device]) as stream:
        space, value_range = stream.colours
        width, height = stream.size
        if space not in BT601:
            raise RefusedError(f"its colours are not BT.601 (AVColorSpace {space}), which DALI takes all for")
        if value_range == FULL_RANGE and not stream.pix_fmt.startswith("yuvj"):
            raise RefusedError("its colours are of full range, which DALI does not look at")
        if device == "cuda" and (width % 2 or height % 2):
            raise RefusedError(f"{width} × {height} px are odd, which NVDEC's 4:2:0 is not")
        yield stream


def graph(device: str) -> Any:
    """The pipeline, not yet built: "clip" (encoded bytes) and "frames" (indices in it) → (n, h, w, 3) uint8 RGB.

    Raises:
        ConfigError: DALI is not installed.
    """
    try:
        from nvidia.dali import Pipeline, fn, types
    except ImportError:
        raise ConfigError(
            "decoding by DALI needs the package nvidia-dali",
            where="video.decoder",
            fix="pip install mrigan[dali], or choose video.decoder=pyav",
        ) from None
    pipeline = Pipeline(
        batch_size=1,
        num_threads=1,
        device_id=0 if device == "cuda" else None,
        exec_dynamic=True,
        prefetch_queue_depth=1,
    )
    with pipeline:
        clip = fn.external_source(name="clip", dtype=types.DALIDataType.UINT8, ndim=1)
        frames = fn.external_source(name="frames", dtype=types.DALIDataType.INT32, ndim=1)
        # A frame that is not there must be an error: by default it would be a black picture. Without an index DALI goes
        # through the packets in sequence; with one it jumps to what the codec's parser takes for a key frame.
        images = fn.decoders.video(
            clip, device="mixed" if device == "cuda" else "cpu", frames=frames, pad_mode="none", build_index=False
        )
        pipeline.set_outputs(images)
    return pipeline


@lru_cache(maxsize=2)
def _pipeline(device: str) -> Any:
    pipeline = graph(device)
    try:
        pipeline.build()
    except RuntimeError as error:
        raise ConfigError(
            f"DALI finds no GPU: {_reason(error)}", where="video.device", fix="video.device=cpu, or a node with a GPU"
        ) from None
    atexit.register(_pipeline.cache_clear)  # its destructor fails when DALI's modules have gone before it
    return pipeline


def _reason(error: Exception) -> str:
    """DALI's own sentence, out of its traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    after = lines[lines.index("encountered:") + 1 :] if "encountered:" in lines else lines
    return after[0] if after else type(error).__name__
