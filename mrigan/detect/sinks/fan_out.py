"""All outputs of one run. Each is checked before the first video; one that fails takes no verdict from the others."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from importlib import import_module
from pathlib import Path

from mrigan.detect.inputs import Input
from mrigan.detect.judge import Judge, Judged
from mrigan.detect.options import Outputs
from mrigan.detect.sinks.sink import STDOUT, Sink
from mrigan.detect.sinks.terminal import Lines
from mrigan.errors import ConfigError, MriganError, OutputError
from mrigan.files import shown
from mrigan.terminal import say
from mrigan.text import counted
from mrigan.time_limit import file_status


class FanOut:
    """Hands the verdicts of a run, which come in any order, to its outputs.

    Args:
        keep: files that no output may overwrite, besides the inputs.

    Attributes:
        judged: what has come so far, without pictures. failures: by output, why it could not be written.
        written: the outputs that hold verdicts now. faces_shown: the number of faces of each input that are shown.

    Raises:
        OutputError: an output cannot be written.
        ConfigError: an output would overwrite an input or another output.
    """

    def __init__(self, inputs: Sequence[Input], outputs: Outputs, keep: Sequence[str] = ()) -> None:
        self.inputs = inputs
        self.judged: dict[Input, Judged] = {}
        self.failures: dict[str, str] = {}
        self.written: list[str] = []
        self._numbers = {item: number for number, item in enumerate(inputs, 1)}
        self.sinks = [
            _sink_class(field.metadata["sink"])(inputs, to, outputs)
            for field in fields(outputs)
            if "sink" in field.metadata and (to := getattr(outputs, field.name)) is not None
        ]
        _keep_apart([*(item.path for item in inputs), *keep], [file for sink in self.sinks for file in sink.files()])
        for sink in self.sinks:
            sink.open()
        lines = Lines(inputs, outputs, any(sink.is_standard_output for sink in self.sinks))
        resumable = [i for i, sink in enumerate(self.sinks, 1) if sink.resumable]
        self.sinks.insert(max(resumable, default=0), lines)  # a verdict that was printed is not lost by a crash
        self.faces_shown = max(sink.faces_shown for sink in self.sinks)

    @property
    def resumable(self) -> bool:
        """Whether the same command, if it is interrupted, continues with the verdicts so far."""
        return any(sink.resumable for sink in self.sinks)

    def begin(self, judge: Judge) -> list[Input]:
        """The inputs that are not judged yet; the verdicts of an earlier run are handed on first."""
        for sink in self.sinks:
            sink.begin(judge.about)
        left = []
        for item in self.inputs:
            known = next((known for sink in self.sinks if (known := sink.known(item)) is not None), None)
            if known is None:
                left.append(item)
            else:
                self.add(item, Judged(known, item.picture, earlier=True))
        return left

    def add(self, item: Input, judged: Judged) -> None:
        """Hand a verdict to every output.

        Raises:
            OutputError: no output is left that can be written.
        """
        for sink in self.sinks:
            self._attempt(sink, partial(sink.add, self._numbers[item], item, judged))
        self.judged[item] = replace(judged, examples=[], scenes=[], strips=[])
        if all(sink.name in self.failures for sink in self.sinks):
            raise OutputError("no output is left that can be written")

    def finish(self, skipped: Sequence[str]) -> None:
        """Have the verdicts so far written, if there are any.

        Args:
            skipped: lines about files that were skipped.
        """
        judged = {item: self.judged[item] for item in self.inputs if item in self.judged}
        left = len(self.inputs) - len(judged)
        notes = [*skipped, *([f"{counted(left, 'more file')}: the run was stopped before"] if left else [])]
        if judged:
            self._note_written(lambda sink: sink.finish(judged, notes))

    def complete(self) -> None:
        """Do the rest of the work, once every input is judged."""
        self._note_written(lambda sink: sink.complete(self.judged))

    def close(self) -> None:
        """Close the outputs."""
        for sink in self.sinks:
            sink.close()

    def _note_written(self, write: Callable[[Sink], bool]) -> None:
        for sink in self.sinks:
            if self._attempt(sink, partial(write, sink)):
                self.written.append(sink.name)

    def _attempt(self, sink: Sink, write: Callable[[], bool | None]) -> bool:
        """Write to an output that has not failed yet; a failure is reported, and kept for the end."""
        if sink.name in self.failures:
            return False
        try:
            return bool(write())
        except (OSError, MriganError) as error:
            what = error.what if isinstance(error, MriganError) else f"cannot be written: {error.strerror or error}"
            self.failures[sink.name] = what
            if sink.name == STDOUT:
                _discard_stdout()
            say(f"error: {sink.name}: {what}", style="bold red")
            return False


def _sink_class(place: str) -> type[Sink]:
    """The class at MODULE:CLASS; its module is imported only if the output is used."""
    module, _, name = place.partition(":")
    return getattr(import_module(module if "." in module else f"mrigan.detect.sinks.{module}"), name)


def _discard_stdout() -> None:
    """What is printed from here on goes nowhere, also what Python flushes at its end."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)


def _keep_apart(kept: Sequence[str], outputs: Sequence[Path]) -> None:
    """Raise ConfigError if an output would overwrite an input or another output."""
    taken: set[str] = set()
    kept_files = {(status.st_dev, status.st_ino) for path in kept if (status := _status(path)) is not None}
    for out in outputs:
        status = _status(out) if os.path.isfile(out) else None
        if status is not None and (status.st_dev, status.st_ino) in kept_files:
            raise ConfigError(
                "the output would overwrite an input", where=shown(os.fspath(out)), fix="choose another path"
            )
        path = os.path.realpath(out)
        if path in taken and (os.path.isfile(out) or not os.path.exists(out)):
            raise ConfigError("two outputs have the same path", where=shown(os.fspath(out)), fix="choose two paths")
        taken.add(path)


def _status(path: str | Path) -> os.stat_result | None:
    try:
        return file_status(path)
    except (OSError, ValueError):
        return None
