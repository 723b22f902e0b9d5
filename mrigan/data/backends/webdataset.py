"""The loader that streams: webdataset reads the tars from front to back, wherever they are, and nothing is staged.

Samples are checked, decoded, flipped and augmented as by the other loaders: the same sample of the same epoch gives the
same pictures. Their order is not the epoch plan's:

- Every worker of every rank reads its own part of an endless list of shards, in which each pass has a random order, and
  shuffles `BUFFER` samples. Workers are not equally fast, so an epoch is a number of samples, not exactly one pass.
- The classes are mixed at random, so a batch is balanced on average only.
- A resumed run starts a new list, in another order. It differs from an undisturbed run.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import random
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from mrigan.data.backends.base import Loader
from mrigan.data.backends.processes import BatchProcesses
from mrigan.data.backends.worker import Failure, shared_memory
from mrigan.data.batch import Batch, DecodedBatch, Request
from mrigan.data.hashing import hash_ids
from mrigan.data.reader import SampleError
from mrigan.data.samples import MAX_SUBSTITUTES, Encoded, Samples, Skipped
from mrigan.errors import ShardError
from mrigan.shardset.folder import Shard, verify
from mrigan.storage import open_storage, open_stream

BUFFER = 1000  # encoded samples that each worker holds and draws from, about 50 MB
MIN_BUFFER = 200  # samples in it when the first one is drawn


@dataclass(frozen=True)
class StreamedSample:
    """A sample as it came out of a tar.

    Attributes:
        id: its place in the `ShardSet`.
        epoch: the pass over its class that it came in.
    """

    id: int
    epoch: int
    face: bytes
    mri: bytes | None
    json: bytes


@dataclass(frozen=True)
class SampleStream:
    """The samples that one rank streams.

    Attributes:
        fakes: share of fakes.
        start: the step that the stream starts at; each has its own order.
    """

    samples: Samples
    batch_size: int
    fakes: float
    start: int
    rank: int
    world_size: int

    def batches(self, worker: int, workers: int) -> Iterator[Batch]:
        """Endless batches, of one of the rank's workers. All have step 0.

        Raises:
            ShardError: a shard cannot be read, or is not the one that its table describes.
            SampleError: a bad sample, if `on_bad` is "stop"; or `MAX_SUBSTITUTES` bad ones in a row.
        """
        from webdataset import DataPipeline
        from webdataset.filters import shuffle

        part, parts = self.rank * workers + worker, self.world_size * workers
        rng = random.Random(int(self._word(f"worker {part} of {parts}")))
        classes = [self._samples(label, part, parts) for label in (0, 1)]
        mixed = (next(classes[rng.random() < self.fakes]) for _ in itertools.count())
        stream = iter(DataPipeline(lambda: mixed, shuffle(BUFFER, initial=MIN_BUFFER, rng=rng)))
        while True:
            ids, epochs = (np.zeros(self.batch_size, np.int64) for _ in range(2))
            batch = DecodedBatch(self.samples, Request(0, ids, epochs), shared_memory)
            for slot in range(self.batch_size):
                sample = self._put_next_good(stream, batch, slot)
                ids[slot], epochs[slot] = sample.id, sample.epoch
            yield batch.finished()

    def _put_next_good(self, stream: Iterator[StreamedSample], batch: DecodedBatch, slot: int) -> StreamedSample:
        for sample in itertools.islice(stream, MAX_SUBSTITUTES + 1):
            try:
                batch.put(slot, self._checked(sample))
                return sample
            except SampleError as error:
                if self.samples.on_bad == "stop":
                    raise
                batch.skipped.append(Skipped(error.sample, str(error)))
                last = error
        raise SampleError(
            last.sample,
            f"{MAX_SUBSTITUTES + 1} samples in a row are bad; the last one: {last.what}",
            where=last.where,
            fix=last.fix,
        )

    def _checked(self, sample: StreamedSample) -> Encoded:
        face, json = memoryview(sample.face), memoryview(sample.json)
        mri = None if sample.mri is None else memoryview(sample.mri)
        self.samples.shards.check(sample.id, face, mri, json)
        return self.samples.encoded_from(sample.id, sample.epoch, (face, mri, json))

    def _samples(self, label: int, part: int, parts: int) -> Iterator[StreamedSample]:
        """One class, pass after pass: every `parts`-th shard of the endless list, from number `part` on."""
        shards = self.samples.shards.shards_of(label)

        @functools.lru_cache(maxsize=1)
        def order(epoch: int) -> Any:
            return np.argsort(hash_ids(np.arange(len(shards)), self._word(f"shards {label} {epoch}")))

        for position in itertools.count(part, parts):
            epoch, place = divmod(position, len(shards))
            number, shard = shards[order(epoch)[place]]
            yield from self._of_shard(shard, self.samples.shards.members(number, label), epoch)

    def _of_shard(self, shard: Shard, members: dict[str, int], epoch: int) -> Iterator[StreamedSample]:
        from webdataset.tariterators import group_by_keys

        seen = 0
        folder = shard.source or str(shard.path.parent)
        try:
            with open_stream(open_storage(folder), shard.path.name, shard.size) as stream:
                for sample in group_by_keys(_members(stream, shard.where)):
                    i = members.get(sample["__key__"])
                    if i is not None:  # else pack.match leaves it out
                        seen += 1
                        parts = {name.partition(".")[0]: data for name, data in sample.items()}
                        yield StreamedSample(i, epoch, parts.get("face", b""), parts.get("mri"), parts.get("json", b""))
        except ShardError as error:
            error.args = error.args[:1]  # webdataset has added to them
            raise
        except (tarfile.TarError, ValueError) as error:
            raise ShardError(f"is not a sound tar: {error.args[0]}", where=shard.where, fix=verify(folder)) from None
        if seen != len(members):
            what = f"holds {seen} of the {len(members)} samples that samples.parquet lists"
            raise ShardError(what, where=shard.where, fix=verify(folder))

    def _word(self, purpose: str) -> np.uint64:
        text = f"mrigan stream 1|{self.samples.seed}|{self.start}|{purpose}"
        return np.frombuffer(hashlib.blake2b(text.encode(), digest_size=8).digest(), dtype="<u8")[0]


def _members(stream: BinaryIO, url: str) -> Iterator[dict[str, Any]]:
    """The files in a tar as webdataset has them. Its own reader unpacks gzip and fills holes: bytes without end."""
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            file = None if member.issparse() else tar.extractfile(member)
            if file is not None:
                yield {"fname": member.name, "data": file.read(), "__url__": url}
            tar.members = []  # type: ignore[attr-defined]  # or it keeps all


class StreamDataset(IterableDataset[Any]):
    """Runs in the workers: each yields its own batches of the stream, or the error that ends it."""

    def __init__(self, stream: SampleStream) -> None:
        self.stream, self.samples = stream, stream.samples

    def __iter__(self) -> Iterator[Batch | Failure]:
        worker = get_worker_info()
        assert worker is not None
        try:
            yield from self.stream.batches(worker.id, worker.num_workers)
        except ShardError as error:
            yield Failure.of(error)


class WebDatasetLoader(Loader):
    """Batches of a stream.

    Args:
        steps: the numbers of the batches.
        workers: processes that read and decode; 0 = the caller does.
    """

    def __init__(self, stream: SampleStream, steps: range, *, workers: int, pin_memory: bool) -> None:
        super().__init__()
        self._steps = iter(steps)
        self._batches: Any = (
            BatchProcesses(
                StreamDataset(stream), None, stream.samples.batch_bytes(stream.batch_size), workers, pin_memory
            )
            if workers
            else stream.batches(0, 1)
        )

    def _next(self) -> Batch:
        step = next(self._steps)
        return replace(next(self._batches), step=step)

    def _stop(self) -> None:
        self._batches.close()
