"""Where the pages go: one page, or for many files a list with a page a file beside it, written as verdicts come."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mrigan.detect.case import Case
from mrigan.detect.judge import Judged
from mrigan.detect.page import page, result, summary
from mrigan.files import Output, write_text

INLINE = 50  # files whose pictures one page holds


class Report:
    """The page `out` on `inputs` files; of more than `INLINE` the list alone, with the pages in a folder beside it.

    A page's name comes from its verdict, so that a run that goes on from a journal keeps the pages, with their
    pictures, that an earlier run wrote.

    Args:
        names: what the page calls the files, in order; none: by their own names.

    Attributes:
        folder: of the pages; None where all is in one.
    """

    def __init__(
        self,
        out: str | Path | Output,
        inputs: int,
        when: datetime | None = None,
        *,
        names: Sequence[str] = (),
        case: Case | None = None,
    ) -> None:
        self._output = out if isinstance(out, Output) else Output(out)
        self.out, self.when, self.names, self.case = self._output.path, when or datetime.now(), names, case
        apart = inputs > INLINE and self._output.file is not None
        self.folder = self.out.with_name(f"{self.out.stem}-files") if apart else None
        if self.folder is not None:
            Output(self.folder / "page.html").try_write()
        self._results: dict[int, dict[str, Any]] = {}

    def add(self, number: int, judged: Judged) -> Judged:
        """Take the verdict on the file of this number, from 1; returns it without its pictures."""
        name = self.names[number - 1] if self.names else ""
        if self.folder is None:
            self._results[number] = result(number, judged, name=name)
        else:
            file = self.folder / f"{_name(judged.verdict)}.html"
            href = f"{quote(os.fsencode(self.folder.name))}/{file.name}"
            self._results[number] = summary(number, judged, href, name)
            if not (judged.earlier and file.exists()):
                back = f"../{quote(os.fsencode(self.out.name))}"
                one = result(number, judged, href, name)
                write_text(file, page([one], when=self.when, back=back, case=self.case))
        return replace(judged, examples=[], scenes=[], strips=[])

    def finish(self, skipped: Sequence[str] = ()) -> None:
        """Write the page; `skipped` are lines on files that were left out."""
        results = [self._results[number] for number in sorted(self._results)]
        write_text(self._output, page(results, skipped, self.when, apart=self.folder is not None, case=self.case))


def _name(verdict: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(verdict, sort_keys=True).encode()).hexdigest()[:16]
