"""Decoders that take a batch at a time: what they must do, and whether they do it here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from mrigan.data.decode import decode
from mrigan.errors import MriganError

Pictures = tuple[list[memoryview], npt.NDArray[np.bool_]]  # encoded ones, and which to flip
MEAN_OFF, MOST_OFF = 1.0, 24  # of 255: how far from libjpeg-turbo a decoder's picture may be, on average and anywhere


class DecoderError(MriganError):
    """A decoder failed; it says on which batch, but not on which picture."""


class BatchDecoder(Protocol):
    """Decodes pictures batch by batch."""

    def decode(self, batches: Iterator[Pictures]) -> Iterator[torch.Tensor | list[torch.Tensor]]:
        """For each of `batches` its pictures, flipped where asked, on the decoder's device.

        It may take batches ahead of those that it has given back.

        Returns:
            (N, 3, H, W) uint8 RGB a batch, or a list of (3, H, W) where the pictures differ in size.

        Raises:
            DecoderError: while iterating; the decoder cannot be used again.
        """
        ...

    def close(self) -> None: ...


def probe(decoder: BatchDecoder) -> None:
    """See on a picture of our own that the decoder works here, flips, and agrees with libjpeg-turbo.

    Raises:
        DecoderError: it does not.
    """
    import cv2

    y, x = np.mgrid[:256, :256].astype(np.float32)
    waves = np.stack([128 + 100 * np.sin((a * x + b * y) / 40) for a, b in ((1, 0.5), (0.3, 2), (3, 1))], axis=2)
    data = memoryview(cv2.imencode(".jpg", waves.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
    expected = torch.from_numpy(decode(data).transpose(2, 0, 1).astype(np.int16))
    results = decoder.decode(iter([([data, data], np.array([False, True]))]))
    for picture, wanted in zip(next(results), (expected, expected.flip(2)), strict=True):
        off = (picture.cpu() - wanted).abs().float()
        if off.mean() > MEAN_OFF or off.max() > MOST_OFF:
            raise DecoderError(
                f"its pictures are off by {off.mean():.1f} of 255 on average, by {off.max():.0f} at most"
            )
