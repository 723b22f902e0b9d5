"""What every output of a run can do."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mrigan.detect.inputs import Input
from mrigan.detect.judge import Judged
from mrigan.detect.options import Outputs
from mrigan.detect.verdict import Verdict
from mrigan.files import shown

STDOUT = "standard output"


class Sink:
    """One output of a run. It overrides what concerns it; the methods are called in the order in which they stand.

    Args:
        inputs: all files of the run, in order. to: where the output goes. outputs: what else the run writes.

    Attributes:
        name: in messages. faces_shown: the number of faces of each input that it shows.
        is_standard_output: whether it writes to the standard output. resumable: whether the same command, if it is
            interrupted, continues with the verdicts that it holds.
    """

    faces_shown = 0
    is_standard_output = False
    resumable = False

    def __init__(self, inputs: Sequence[Input], to: str | Path, outputs: Outputs) -> None:
        self.inputs, self.outputs, self.name = inputs, outputs, shown(os.fspath(to))

    def files(self) -> Sequence[Path]:
        """The files that it will write; none may be an input or another output."""
        return []

    def open(self) -> None:
        """Check before the first video that it can be written.

        Raises:
            OutputError: it cannot.
        """

    def begin(self, model: Mapping[str, Any]) -> None:
        """The model is loaded; `model` is what verdicts say about it."""

    def known(self, item: Input) -> Verdict | None:
        """The verdict of an earlier run on this input, if the output holds it and it is still valid."""
        return None

    def add(self, number: int, item: Input, judged: Judged) -> None:
        """Take the verdict on the input of this number, from 1, as soon as it is known."""

    def finish(self, judged: Mapping[Input, Judged], notes: Sequence[str]) -> bool:
        """No more verdicts come, perhaps because the run was stopped.

        Args:
            judged: at least one, in the order of the inputs, without pictures. notes: lines about skipped files.

        Returns:
            Whether a file holds the verdicts now.
        """
        return False

    def complete(self, judged: Mapping[Input, Judged]) -> bool:
        """Every input is judged; the rest of the work starts. Returns as `finish`."""
        return False

    def close(self) -> None:
        """The run is over."""
