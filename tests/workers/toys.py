"""Tasks for `run_tasks`, in a module of their own: worker processes import it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mrigan.workers.file_clock import FileClock


class Odd(Exception):  # noqa: N818
    """Cannot be made from its `args`, so not unpickled."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} of {second}")


def setup(folder: Path) -> Callable[[Any, Callable[[Any], None]], Any]:
    """A worker whose tasks are words: what to do."""

    def work(task: tuple[str, int], report: Callable[[Any], None]) -> Any:
        what, number = task
        report(f"about to {what}")
        with open(folder / f"{what}-{number}", "ab") as file:
            file.write(b"x")
        tries = (folder / f"{what}-{number}").stat().st_size
        if what == "die" or (what == "die once" and tries == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "exit":
            os._exit(7)
        if what == "raise":
            raise OSError(28, "No space left on device")
        if what == "raise oddly":
            raise Odd("half", "it")
        if what == "wait":
            (folder / "waiting").touch()
            time.sleep(600)
        if what.startswith("read"):
            with FileClock(report) as clock:
                clock.at("a quick file")
                clock.at(str(folder / "pipe"))
                if what == "read":
                    open(folder / "pipe").close()  # nobody writes: it does not come back
                if what == "read in turns":  # of two files, each in time
                    for turn in range(12):
                        clock.at(f"file {turn % 4}")
                        time.sleep(0.25)
        return number, os.getpid()

    return work
