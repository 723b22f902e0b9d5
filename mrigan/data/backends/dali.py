"""DALI as a decoder: its pipeline is fed with the encoded pictures of our plan, and decodes and flips them.

On a GPU the `mixed` decoder (nvJPEG, and the JPEG engines of GPUs that have them; PNG on the CPU), else the CPU one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from mrigan.data.backends.decoder import BatchDecodeError, Pictures
from mrigan.errors import ConfigError

DEPTH = 2  # batches in the pipeline
Fed = tuple[list[np.ndarray], list[np.ndarray]]


class DaliDecoder:
    """A `BatchDecoder` by NVIDIA DALI.

    Args:
        device: where to decode.
        threads: of DALI.
        max_pictures: in a batch.

    Raises:
        ConfigError: DALI is not installed.
        BatchDecodeError: its pipeline cannot be built on this machine.
    """

    def __init__(self, device: torch.device, threads: int, max_pictures: int) -> None:
        self._device = device
        self._batches: Iterator[Pictures] = iter(())
        try:
            self._pipeline = build_pipeline(self._feed, device, threads, max_pictures)
            self._pipeline.build()
        except RuntimeError as error:
            raise BatchDecodeError(f"DALI: {error}") from error

    def decode(self, batches: Iterator[Pictures]) -> Iterator[torch.Tensor | list[torch.Tensor]]:
        self._batches = batches
        # Bound to the stream that reads the results, so DALI does not overwrite them before they are read.
        stream = torch.cuda.current_stream(self._device) if self._device.type == "cuda" else None
        try:
            self._pipeline.schedule_run()  # the first call fills the pipeline
            while True:
                try:
                    (planes,) = self._pipeline.share_outputs(cuda_stream=stream)
                except StopIteration:
                    break
                copied = _copy(planes)
                self._pipeline.release_outputs()
                self._pipeline.schedule_run()
                yield copied
        except (RuntimeError, IndexError) as error:  # of DALI; the pipeline cannot be used again
            raise BatchDecodeError(f"DALI: {error}") from error

    def close(self) -> None:
        self._pipeline._shutdown()

    def _feed(self) -> Fed:
        pictures, mirrored = next(self._batches)
        return [np.frombuffer(picture, np.uint8) for picture in pictures], list(mirrored.astype(np.int32))


def build_pipeline(feed: Callable[[], Fed], device: torch.device, threads: int, max_pictures: int) -> Any:
    """The graph: encoded pictures and flips in, (3, H, W) uint8 RGB out. It needs a GPU only when it is built."""
    try:
        from nvidia.dali import fn
        from nvidia.dali.pipeline import Pipeline
        from nvidia.dali.types import DALIDataType, DALIImageType
    except ImportError:
        raise ConfigError(
            "data.loader=dali needs DALI, which is not installed",
            fix="pip install 'mrigan[dali]', or data.loader=torch",
        ) from None
    cuda = device.type == "cuda"
    number = (device.index or 0) if cuda else None
    pipeline = Pipeline(
        batch_size=max_pictures, num_threads=max(1, threads), device_id=number, prefetch_queue_depth=DEPTH
    )
    with pipeline:
        encoded, mirror = fn.external_source(
            feed, num_outputs=2, dtype=[DALIDataType.UINT8, DALIDataType.INT32], ndim=[1, 0]
        )
        # The slow, exact transforms, like libjpeg-turbo's defaults: closest to what the torch loader decodes.
        images = fn.decoders.image(
            encoded,
            device="mixed" if cuda else "cpu",
            output_type=DALIImageType.RGB,
            use_fast_idct=False,
            jpeg_fancy_upsampling=True,
        )
        planes = fn.crop_mirror_normalize(
            images, dtype=DALIDataType.UINT8, output_layout="CHW", mirror=mirror, mean=[0.0], std=[1.0]
        )
        pipeline.set_outputs(planes)
    return pipeline


def _copy(planes: Any) -> torch.Tensor | list[torch.Tensor]:
    if planes.is_dense_tensor():
        return torch.from_dlpack(planes.as_tensor()).clone()
    return [torch.from_dlpack(picture).clone() for picture in planes]
