"""The loader with a decoder that takes a batch at a time: threads read and check, DALI or torchvision decodes.

A picture that is no JPEG kills such a decoder and all batches under way, without telling which one it was. So the batch
that it failed on is decoded picture by picture on the CPU, which finds and names the bad sample or replaces it; then a
new decoder goes on with the next batch.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from mrigan.data.assembly import DecodedBatch, EncodedBatch, Request
from mrigan.data.augment import on_planes
from mrigan.data.backends.base import Loader
from mrigan.data.backends.decoder import BatchDecoder, DecoderError, Pictures
from mrigan.data.backends.threads import Filled
from mrigan.data.batch import Batch
from mrigan.data.planes import resize_planes
from mrigan.data.samples import Samples

log = logging.getLogger(__name__)
FAILURES = 5  # batches in a row that the decoder may fail on and the CPU decodes without a fault


class BatchedLoader(Loader):
    """Batches on `device`, decoded by what `make` makes.

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
        decoder = make()  # first: where it fails there is nothing to close
        super().__init__()
        self._samples, self._make, self._device = samples, make, device
        self._filled = Filled(requests, lambda request: EncodedBatch(samples, request), workers)
        self._under_way: deque[EncodedBatch] = deque()
        self._failures = 0
        self._error: Exception | None = None  # of reading; told after the batches before it
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
            except Exception as error:  # noqa: BLE001 (kept for its turn, then raised)
                self._error = error
                return
            self._under_way.append(batch)
            slots = batch.slots
            pictures = [(slot.face, slot.mirrored) for slot in slots]
            pictures += [(slot.mri, slot.mirrored) for slot in slots if slot.mri is not None]
            yield [picture for picture, _ in pictures], np.array([mirrored for _, mirrored in pictures])

    def _next(self) -> Batch:
        try:
            pictures = next(self._results)
        except DecoderError as error:
            return self._on_cpu(error)
        except StopIteration:
            if self._error is not None:
                raise self._error from None
            raise
        self._failures = 0
        batch = self._under_way.popleft()
        count, size = len(batch.slots), self._samples.size
        face, mri = self._sized(pictures[:count]), None
        if self._samples.mri:
            mri = torch.zeros((count, 3, size, size), dtype=torch.uint8, device=self._device)
            drawn = [k for k, slot in enumerate(batch.slots) if slot.mri is not None]
            if drawn:
                places = torch.tensor(drawn).to(self._device, non_blocking=True)  # a list would wait for the device
                mri.index_copy_(0, places, self._sized(pictures[count:]))
        if self._samples.augment is not None:
            for planes, slot in zip(face, batch.slots, strict=True):
                planes.copy_(self._augmented(planes, slot.draws.generator()))
        return batch.batch(face, mri)

    def _augmented(self, planes: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        augment = self._samples.augment
        assert augment is not None
        if planes.is_cuda:
            form = on_planes(augment)
            assert form is not None  # or this loader would not have been chosen
            return form(planes, rng)
        return torch.from_numpy(augment(planes.permute(1, 2, 0).contiguous().numpy(), rng)).permute(2, 0, 1)

    def _sized(self, pictures: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
        size = self._samples.size
        if isinstance(pictures, torch.Tensor):
            return resize_planes(pictures, size)
        if len({picture.shape for picture in pictures}) == 1:
            return resize_planes(torch.stack(pictures), size)
        return torch.cat([resize_planes(picture[None], size) for picture in pictures])

    def _on_cpu(self, error: DecoderError) -> Batch:
        """The batch that the decoder failed on, or one before, decoded on the CPU; and a new decoder for the rest."""
        self._failures += 1
        failed, *again = self._under_way
        self._under_way.clear()
        self._decoder.close()
        batch = DecodedBatch(self._samples, failed.request, lambda shape: torch.empty(shape, dtype=torch.uint8))
        batch.fill(0, len(failed.request))  # raises what is wrong where bad samples are to stop the run
        if self._failures > FAILURES:
            raise error
        log.info("step %d is decoded on the CPU, for the decoder failed: %s", failed.request.step, error.what)
        self._begin(self._make(), again)
        return batch.finished().to(self._device)

    def _stop(self) -> None:
        self._decoder.close()
        self._filled.close()
