"""`--json`: the verdicts as one list, written at the end."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mrigan.detect.inputs import Input
from mrigan.detect.judge import Judged
from mrigan.detect.options import Outputs
from mrigan.detect.sinks.sink import STDOUT, Sink
from mrigan.files import Output, write_text
from mrigan.outputs import VERDICTS, own_output


class JsonList(Sink):
    """A file, or the standard output if it is called `-`."""

    def __init__(self, inputs: Sequence[Input], to: str | Path, outputs: Outputs) -> None:
        super().__init__(inputs, to, outputs)
        self.is_standard_output = to == "-"
        self._to = Path(to)
        self._output: Output | None = None
        if self.is_standard_output:
            self.name = STDOUT

    def files(self) -> Sequence[Path]:
        return [] if self.is_standard_output else [self._to]

    def open(self) -> None:
        if not self.is_standard_output:
            self._output = own_output(self._to, VERDICTS, self.outputs.force)
            self.is_standard_output = self._output.is_standard_output

    def finish(self, judged: Mapping[Input, Judged], notes: Sequence[str]) -> bool:
        text = as_json([one.verdict.to_json() for one in judged.values()])
        if self._output is not None:
            write_text(self._output, text)
            return True
        sys.stdout.write(text)
        sys.stdout.flush()
        return False


def as_json(verdicts: Sequence[dict[str, Any]]) -> str:
    """The verdicts as a JSON list. ASCII, so that bytes of a path that are no UTF-8 come back as they were."""
    return json.dumps(verdicts, indent=1, allow_nan=False) + "\n"
