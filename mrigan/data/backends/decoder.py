"""Decoders that take a batch at a time: their interface, and a test whether one works on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from mrigan.data.decode import decode
from mrigan.errors import MriganError
from mrigan.imaging.encoding import encode

Pictures = tuple[list[memoryview], npt.NDArray[np.bool_]]  # encoded pictures, and which of them to flip
MAX_MEAN_ERROR, MAX_ERROR = 1.0, 24  # of 255: how far a picture may be from libjpeg-turbo's


class BatchDecodeError(MriganError):
    """A decoder failed on a batch; which picture caused it is unknown."""


class BatchDecoder(Protocol):
    """Decodes pictures batch by batch."""

    def decode(self, batches: Iterator[Pictures]) -> Iterator[torch.Tensor | list[torch.Tensor]]:
        """For each of `batches` its pictures, flipped where requested, on the decoder's device.

        It may take several batches before it yields the first.

        Returns:
            (N, 3, H, W) uint8 RGB for each batch, or a list of (3, H, W) if the pictures differ in size.

        Raises:
            BatchDecodeError: while iterating; the decoder cannot be used again.
        """
        ...

    def close(self) -> None: ...


def probe(decoder: BatchDecoder) -> None:
    """Check with a test picture that the decoder works on this machine, flips, and agrees with libjpeg-turbo.

    Raises:
        BatchDecodeError: it does not.
    """
    y, x = np.mgrid[:256, :256].astype(np.float32)
    waves = np.stack([128 + 100 * np.sin((a * x + b * y) / 40) for a, b in ((1, 0.5), (0.3, 2), (3, 1))], axis=2)
    data = memoryview(encode(waves.astype(np.uint8), "jpg"))
    expected = torch.from_numpy(decode(data).transpose(2, 0, 1).astype(np.int16))
    results = decoder.decode(iter([([data, data], np.array([False, True]))]))
    for picture, reference in zip(next(results), (expected, expected.flip(2)), strict=True):
        error = (picture.cpu() - reference).abs().float()
        if error.mean() > MAX_MEAN_ERROR or error.max() > MAX_ERROR:
            raise BatchDecodeError(
                f"its pictures differ from libjpeg-turbo's by {error.mean():.1f} of 255 on average, "
                f"by {error.max():.0f} at most"
            )
