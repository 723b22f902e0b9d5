"""The loader with a decoder that takes a batch at a time: threads read and check, DALI or torchvision decodes.

A damaged picture breaks such a decoder and all batches in it, and the error does not say which picture it was. So that
batch is decoded picture by picture on the CPU, which names or replaces the bad sample; then a new decoder continues
with the next batch.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from mrigan.data.backends.base import Loader
from mrigan.data.backends.decoder import BatchDecodeError, BatchDecoder, Pictures
from mrigan.data.backends.threads import Filled
from mrigan.data.batch import Batch, DecodedBatch, EncodedBatch, Request
from mrigan.data.samples import Samples
from mrigan.imaging.planes import resize

log = logging.getLogger(__name__)
MAX_FAILURES = 5  # batches in a row that the decoder fails on although the CPU decodes them


class BatchedLoader(Loader):
    """Batches on `device`, decoded by the decoder that `make` returns.

    Args:
        workers: threads that read; 0 = the caller does.
    """

    def __init__(
        self,
        samples: Samples,
        requests: Iterable[Request],
        *,
        make: Callable[[], BatchDecoder],
        device: torch.device,
        workers: int,
    ) -> None:
        decoder = make()  # first: if it fails there is nothing to close
        super().__init__()
        self._samples, self._make, self._device = samples, make, device
        self._filled = Filled(requests, lambda request: EncodedBatch(samples, request), workers)
        self._pending: deque[EncodedBatch] = deque()
        self._failures = 0
        self._error: Exception | None = None  # of reading; raised after the batches before it
        self._begin(decoder, [])

    def _begin(self, decoder: BatchDecoder, again: list[EncodedBatch]) -> None:
        self._decoder = decoder
        self._results = decoder.decode(self._feed(itertools.chain(again, self._filled)))

    def _feed(self, batches: Iterable[EncodedBatch]) -> Iterator[Pictures]:
        each = iter(batches)
        while True:
            try:
                batch = next(each)
            except StopIteration:
                return
            except Exception as error:  # noqa: BLE001 (raised later, in its turn)
                self._error = error
                return
            self._pending.append(batch)
            slots = batch.slots
            pictures = [(slot.face, slot.mirrored) for slot in slots]
            pictures += [(slot.mri, slot.mirrored) for slot in slots if slot.mri is not None]
            yield [picture for picture, _ in pictures], np.array([mirrored for _, mirrored in pictures])

    def _next(self) -> Batch:
        try:
            pictures = next(self._results)
        except BatchDecodeError as error:
            return self._on_cpu(error)
        except StopIteration:
            if self._error is not None:
                raise self._error from None
            raise
        self._failures = 0
        batch = self._pending.popleft()
        count, size = len(batch.slots), self._samples.size
        face, mri = self._sized(pictures[:count]), None
        if self._samples.mri:
            mri = torch.zeros((count, 3, size, size), dtype=torch.uint8, device=self._device)
            drawn = [k for k, slot in enumerate(batch.slots) if slot.mri is not None]
            if drawn:
                # Indexing by a list would wait for the device.
                places = torch.tensor(drawn).to(self._device, non_blocking=True)
                mri.index_copy_(0, places, self._sized(pictures[count:]))
        if self._samples.augment is not None:
            for planes, slot in zip(face, batch.slots, strict=True):
                planes.copy_(self._augmented(planes, slot.rng.generator()))
        return batch.batch(face, mri)

    def _augmented(self, planes: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        augment = self._samples.augment
        assert augment is not None
        if planes.is_cuda:
            return augment(planes, rng)  # it takes planes, or this loader would not have been chosen
        return torch.from_numpy(augment(planes.permute(1, 2, 0).contiguous().numpy(), rng)).permute(2, 0, 1)

    def _sized(self, pictures: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
        size = self._samples.size
        if isinstance(pictures, torch.Tensor):
            return resize(pictures, (size, size), "linear")
        if len({picture.shape for picture in pictures}) == 1:
            return resize(torch.stack(pictures), (size, size), "linear")
        return torch.cat([resize(picture[None], (size, size), "linear") for picture in pictures])

    def _on_cpu(self, error: BatchDecodeError) -> Batch:
        """The oldest batch in the decoder that failed, decoded on the CPU; a new decoder gets the rest."""
        self._failures += 1
        failed, *again = self._pending
        self._pending.clear()
        self._decoder.close()
        batch = DecodedBatch(self._samples, failed.request, lambda shape: torch.empty(shape, dtype=torch.uint8))
        batch.fill(0, len(failed.request))  # raises the sample's error if on_bad is "stop"
        if self._failures > MAX_FAILURES:
            raise error
        log.info("the decoder failed; decoding step %d on the CPU: %s", failed.request.step, error.what)
        self._begin(self._make(), again)
        return batch.finished().to(self._device)

    def _stop(self) -> None:
        self._decoder.close()
        self._filled.close()
