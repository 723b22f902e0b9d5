"""`--html`: one page, or for many files a list with a page per file, each written as soon as its verdict is known."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mrigan.detect.inputs import Input
from mrigan.detect.judge import Judged
from mrigan.detect.options import Outputs
from mrigan.detect.page import faces_shown, page, result, summary
from mrigan.detect.sinks.sink import Sink
from mrigan.detect.titles import titles
from mrigan.detect.verdict import Verdict
from mrigan.files import Output, write_text
from mrigan.outputs import PAGE, own_output

MAX_FILES_INLINE = 50  # on one page; more get a page each


class Pages(Sink):
    """One page; for more than `MAX_FILES_INLINE` files a list, with a page for each file in a folder beside it.

    A page's name comes from its verdict: a run that continues an earlier one keeps the pages, with their pictures,
    that this one wrote.

    Args:
        when: shown as the time of the analysis.

    Attributes:
        folder: of the pages; None if all is in one.
    """

    def __init__(self, inputs: Sequence[Input], to: str | Path, outputs: Outputs, when: datetime | None = None) -> None:
        super().__init__(inputs, to, outputs)
        self.out, self.when, self.case = Path(to), when or datetime.now(), outputs.case
        self.faces_shown = faces_shown(len(inputs))
        self.folder: Path | None = None
        self._names = titles([item.path for item in inputs])
        self._output: Output | None = None
        self._results: dict[int, dict[str, Any]] = {}

    def files(self) -> Sequence[Path]:
        return [self.out]

    def open(self) -> None:
        self._output = own_output(self.out, PAGE, self.outputs.force)
        self.is_standard_output = self._output.is_standard_output
        if len(self.inputs) > MAX_FILES_INLINE and self._output.file is not None:
            self.folder = self.out.with_name(f"{self.out.stem}-files")
            Output(self.folder / "page.html").try_write()

    def add(self, number: int, item: Input, judged: Judged) -> None:
        """Write the file's page, or keep what the one page shows of it."""
        name = self._names[number - 1]
        if self.folder is None:
            self._results[number] = result(number, judged, name=name)
            return
        file = self.folder / f"{_name(judged.verdict)}.html"
        href = f"{quote(os.fsencode(self.folder.name))}/{file.name}"
        self._results[number] = summary(number, judged, href, name)
        if not (judged.earlier and file.exists()):
            back = f"../{quote(os.fsencode(self.out.name))}"
            one = result(number, judged, href, name)
            write_text(file, page([one], when=self.when, back=back, case=self.case))

    def finish(self, judged: Mapping[Input, Judged], notes: Sequence[str]) -> bool:
        assert self._output is not None
        results = [self._results[number] for number in sorted(self._results)]
        write_text(self._output, page(results, notes, self.when, apart=self.folder is not None, case=self.case))
        return True


def _name(verdict: Verdict) -> str:
    return hashlib.sha256(json.dumps(verdict.to_json(), sort_keys=True).encode()).hexdigest()[:16]
