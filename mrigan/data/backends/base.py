"""What all loaders have in common: an iterator over batches that can be closed and that counts bad samples."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator

from mrigan.data.batch import Batch

log = logging.getLogger(__name__)
TIMEOUT = 600  # seconds without a batch: storage or a worker hangs
MAX_LISTED = 10  # bad samples that are named at the end


class Loader(Iterator[Batch]):
    """An iterator over batches. Its workers stop at the end, on an error, and on `close` (or after `with`).

    Attributes:
        skipped: the bad samples so far, by id, with their errors (`data.on_bad=skip`).
    """

    def __init__(self) -> None:
        self.skipped: dict[int, str] = {}
        self._open = True

    def __iter__(self) -> Loader:
        return self

    def __next__(self) -> Batch:
        if not self._open:
            raise StopIteration
        try:
            batch = self._next()
        except BaseException:  # including StopIteration
            self.close()
            raise
        for bad in batch.skipped:
            if bad.sample not in self.skipped:
                self.skipped[bad.sample] = bad.error
                log.warning("skipped a bad sample in step %d: %s", batch.step, bad.error)
        return batch

    def close(self) -> None:
        """Stop the workers and wait for them; log the samples that were skipped."""
        if not getattr(self, "_open", False):
            return
        self._open = False
        self._stop()
        if self.skipped:
            listed = [", ".join(error.split("\n  ")[:2]) for error in list(self.skipped.values())[:MAX_LISTED]]
            more = [f"and {len(self.skipped) - MAX_LISTED} more"] if len(self.skipped) > MAX_LISTED else []
            log.warning("bad samples that were skipped: %d\n  %s", len(self.skipped), "\n  ".join(listed + more))

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def _next(self) -> Batch: ...

    @abstractmethod
    def _stop(self) -> None: ...
