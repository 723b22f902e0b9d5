"""Writing while training goes on: one thread, one write at a time, and no error is lost."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class BackgroundWriter:
    """Runs writes in a thread of its own. A process that ends in order waits for the write that is under way.

    Args:
        on_failure: called in that thread when a write has raised; its error comes up at the next `submit` or `wait`.
    """

    def __init__(self, on_failure: Callable[[], None]) -> None:
        self._on_failure = on_failure
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._last: Future[None] | None = None

    def submit(self, write: Callable[[], None]) -> None:
        """Begin `write`; waits only for the one before, if that is still under way.

        Raises:
            MriganError: what the one before has raised; `write` is not begun.
        """
        self.wait()
        self._last = self._thread.submit(write)
        self._last.add_done_callback(self._noticed)

    def wait(self) -> None:
        """Until nothing is under way.

        Raises:
            MriganError: what the write has raised.
        """
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def _noticed(self, write: Future[None]) -> None:
        if write.exception() is not None:
            self._on_failure()
