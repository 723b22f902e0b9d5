"""Write while training continues: one thread, one write at a time, and no error is lost."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class BackgroundWriter:
    """Runs writes in a thread. A process that ends normally waits for the current write.

    Args:
        on_failure: called in that thread if a write raises; the next `submit` or `wait` raises its error.
    """

    def __init__(self, on_failure: Callable[[], None]) -> None:
        self._on_failure = on_failure
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._last: Future[None] | None = None

    def submit(self, write: Callable[[], None]) -> None:
        """Begin `write`, after the one before it.

        Raises:
            MriganError: of the write before; `write` is not begun.
        """
        self.wait()
        self._last = self._thread.submit(write)
        self._last.add_done_callback(self._report_failure)

    def wait(self) -> None:
        """Wait for the current write.

        Raises:
            MriganError: of that write.
        """
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def _report_failure(self, write: Future[None]) -> None:
        if write.exception() is not None:
            self._on_failure()
