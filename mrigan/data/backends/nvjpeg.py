"""torchvision's CUDA JPEG decoder (nvJPEG): a batch at a time, one batch ahead, on its own stream."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch

from mrigan.data.backends.decoder import BatchDecodeError, Pictures
from mrigan.data.decode import JPEG, DecodeError, decode

AHEAD = 1  # batches


class TorchvisionDecoder:
    """A `BatchDecoder` by torchvision. PNG pictures (MRIs) are decoded on the CPU and copied.

    Args:
        device: where to decode; "cpu" runs the same code without a GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="nvjpeg")

    def decode(self, batches: Iterator[Pictures]) -> Iterator[list[torch.Tensor]]:
        ahead: deque[Future[tuple[list[torch.Tensor], torch.cuda.Event | None]]] = deque()
        while True:
            for batch in itertools.islice(batches, AHEAD + 1 - len(ahead)):
                ahead.append(self._pool.submit(self._decode, batch))
            if not ahead:
                return
            pictures, done = ahead.popleft().result()
            if done is not None:  # the reader's stream waits, the host does not
                reader = torch.cuda.current_stream(self._device)
                reader.wait_event(done)
                for picture in pictures:
                    picture.record_stream(reader)
            yield pictures

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _decode(self, batch: Pictures) -> tuple[list[torch.Tensor], torch.cuda.Event | None]:
        from torchvision.io import ImageReadMode, decode_jpeg

        pictures, mirrored = batch
        results: list[torch.Tensor | None] = [None] * len(pictures)
        jpegs = [k for k, picture in enumerate(pictures) if picture[: len(JPEG)] == JPEG]
        stream: AbstractContextManager[object] = (
            nullcontext() if self._stream is None else torch.cuda.stream(self._stream)
        )
        with stream:
            try:
                encoded = [torch.from_numpy(np.frombuffer(pictures[k], np.uint8).copy()) for k in jpegs]
                decoded = decode_jpeg(encoded, mode=ImageReadMode.RGB, device=self._device) if encoded else []
                for k, picture in zip(jpegs, decoded, strict=True):
                    results[k] = picture
                for k, result in enumerate(results):
                    if result is None:
                        planes = np.ascontiguousarray(decode(pictures[k]).transpose(2, 0, 1))
                        results[k] = torch.from_numpy(planes).to(self._device)
            except (RuntimeError, DecodeError) as error:
                raise BatchDecodeError(f"torchvision: {error}") from error
            whole = [result for result in results if result is not None]
            flipped = [picture.flip(2) if flip else picture for picture, flip in zip(whole, mirrored, strict=True)]
            return flipped, None if self._stream is None else self._stream.record_event()
