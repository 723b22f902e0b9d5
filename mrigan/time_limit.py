"""Calls that may never come back: what touches a file of a dead mount waits in the kernel, where no signal ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def within(seconds: float, function: Callable[..., T], *args: Any) -> T:
    """`function(*args)`, in a thread that is left behind if it does not come back.

    Args:
        seconds: to wait, 0 = without end, and without a thread.

    Raises:
        TimeoutError: it has not come back. Else what the function raises.
    """
    if not seconds:
        return function(*args)
    results: list[T] = []
    errors: list[BaseException] = []
    ended = threading.Event()

    def call() -> None:
        try:
            results.append(function(*args))
        except BaseException as error:  # noqa: BLE001 (raised again by the caller's thread)
            errors.append(error)
        ended.set()

    threading.Thread(target=call, daemon=True).start()
    if not ended.wait(seconds):
        raise TimeoutError(f"no answer in {seconds:g} s")
    if errors:
        raise errors[0]
    return results[0]
