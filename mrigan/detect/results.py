"""Where the verdicts of one run go: a line each on the terminal, JSON, JSON lines, a page, annotated copies.

All of them are tried before the first video, and none that fails afterwards takes a verdict from the others.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrigan.detect.inputs import Input
from mrigan.detect.judge import Judged
from mrigan.detect.lines import verdict_line
from mrigan.errors import ConfigError, MriganError, OutputError
from mrigan.files import Output, shown, write_text
from mrigan.outputs import PAGE, VERDICTS, annotated_video, own_output, refuse_foreign
from mrigan.terminal import echo, say
from mrigan.time_limit import file_status

if TYPE_CHECKING:
    from mrigan.detect.case import Case
    from mrigan.detect.journal import Journal
    from mrigan.detect.report import Report

STDOUT = "standard output"


@dataclass(frozen=True)
class Destinations:
    """What a run was asked to write; None = nothing of the kind.

    Args:
        json: a file, or `-` for standard output. annotate: a file that ends in .mp4, or a folder.
        case: what the page says of the case. force: replace files that Mrigan did not write.
    """

    json: str | None = None
    jsonl: Path | None = None
    html: Path | None = None
    annotate: Path | None = None
    case: Case | None = None
    force: bool = False


class Results:
    """Takes the verdicts of one run, in any order.

    Args:
        keep: files that no output may overwrite, beside the inputs.

    Attributes:
        judged: what has come so far, without pictures. failures: by output, why it could not be written.
        written: the outputs that hold verdicts now.
        faces_shown: faces of each input that the page shows. jsonl: the journal's output, None without one.

    Raises:
        OutputError: an output cannot be written.
        ConfigError: an output would overwrite an input, or another output.
    """

    def __init__(self, inputs: Sequence[Input], destinations: Destinations, keep: Sequence[str] = ()) -> None:
        self.inputs, self.to = inputs, destinations
        self.judged: dict[Input, Judged] = {}
        self.failures: dict[str, str] = {}
        self.written: list[str] = []
        self.faces_shown = 0
        self._numbers = {item: number for number, item in enumerate(inputs, 1)}
        kept = [*(item.path for item in inputs), *keep]
        json_file = destinations.json if destinations.json != "-" else None
        files = [out for out in (json_file, destinations.jsonl, destinations.html) if out is not None]
        _keep_apart(kept, files)
        self._copies = self._annotated(kept)
        force = destinations.force
        self._json = own_output(json_file, VERDICTS, force) if json_file is not None else None
        self.jsonl = Output(destinations.jsonl).try_write() if destinations.jsonl is not None else None
        html = own_output(destinations.html, PAGE, force) if destinations.html is not None else None
        self._to_stderr = destinations.json == "-" or any(  # the lines
            out is not None and out.is_standard_output for out in (self._json, self.jsonl, html)
        )
        self._report = self._page(html)

    def add(self, item: Input, judged: Judged, journal: Journal | None = None) -> None:
        """Print the verdict, and hand it to the journal and to the page.

        Raises:
            OutputError: no output is left that can be written.
        """
        if journal is not None and not judged.earlier:
            self._attempt(_name(self.to.jsonl), lambda: journal.add(judged.verdict))
        line = verdict_line(judged.verdict)
        self._attempt(STDOUT, lambda: say(line) if self._to_stderr else echo(line))
        report = self._report
        if report is not None:
            self._attempt(_name(self.to.html), lambda: report.add(self._numbers[item], judged))
        self.judged[item] = replace(judged, examples=[], scenes=[], strips=[])
        outputs = {STDOUT} | {_name(out) for out in (self.to.json, self.to.jsonl, self.to.html) if out is not None}
        if outputs <= self.failures.keys():
            raise OutputError("no output is left that can be written")

    def finish(self, skipped: Sequence[str] = ()) -> None:
        """Write the JSON and the page on what has come so far, unless that is nothing.

        Args:
            skipped: lines on files that were left out.
        """
        verdicts = [self.judged[item].verdict for item in self.inputs if item in self.judged]
        if not verdicts:
            return
        if self.to.json == "-":
            self._attempt(STDOUT, lambda: _print(as_json(verdicts)))
        out, report = self._json, self._report
        if out is not None:
            self._attempt(_name(self.to.json), lambda: write_text(out, as_json(verdicts)))
        if report is not None:
            left = len(self.inputs) - len(verdicts)
            lines = [
                *skipped,
                *([f"{left} more {'file' if left == 1 else 'files'}: the run was stopped before"] if left else []),
            ]
            self._attempt(_name(self.to.html), lambda: report.finish(lines))
        names = [_name(to) for to in (self.to.json, self.to.jsonl, self.to.html) if to is not None and to != "-"]
        self.written = [name for name in names if name not in self.failures]

    def annotate(self) -> None:
        """Write the annotated copies."""
        if not self._copies or self.to.annotate is None:
            return
        from mrigan.detect.annotate import annotate_all

        def draw() -> None:
            for line in annotate_all({item: one.verdict for item, one in self.judged.items()}, self._copies):
                say(line)

        name = _name(self.to.annotate)
        self._attempt(name, draw)
        if name not in self.failures:
            self.written.append(name)

    def _annotated(self, kept: Sequence[str]) -> Mapping[Input, Path]:
        """Where the copies go, tried."""
        if self.to.annotate is None:
            return {}
        from mrigan.detect.annotate import targets

        copies = targets(self.inputs, self.to.annotate)
        _keep_apart(kept, list(copies.values()))
        for out in copies.values():
            if out.exists() and not out.is_file():
                raise OutputError(
                    "a video cannot be written into what is not a file",
                    where=shown(os.fspath(out)),
                    fix="give another name after --annotate",
                )
            refuse_foreign(out, annotated_video, self.to.force)
        for out in {out.parent: out for out in copies.values()}.values():
            Output(out).try_write()
        return copies

    def _page(self, html: Output | None) -> Report | None:
        if html is None:
            return None
        from mrigan.detect.page import faces_shown
        from mrigan.detect.report import Report
        from mrigan.detect.titles import titles

        self.faces_shown = faces_shown(len(self.inputs))
        return Report(html, len(self.inputs), names=titles([item.path for item in self.inputs]), case=self.to.case)

    def _attempt(self, name: str, write: Callable[[], object]) -> None:
        """Write to an output that has not failed yet; a failure is told, and kept for the end."""
        if name in self.failures:
            return
        try:
            write()
        except (OSError, MriganError) as error:
            what = error.what if isinstance(error, MriganError) else f"cannot be written: {error.strerror or error}"
            self.failures[name] = what
            if name == STDOUT:
                _discard_stdout()
            say(f"error: {name}: {what}", style="bold red")


def as_json(verdicts: Sequence[dict[str, Any]]) -> str:
    """The verdicts as a JSON list. ASCII, so that bytes of a path that are no UTF-8 come back as they were."""
    return json.dumps(verdicts, indent=1, allow_nan=False) + "\n"


def _name(out: str | Path | None) -> str:
    return STDOUT if out is None or out == "-" else shown(os.fspath(out))


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _discard_stdout() -> None:
    """What is printed from here on goes nowhere, also what Python flushes at its end."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)


def _keep_apart(kept: Sequence[str], outputs: Sequence[str | Path]) -> None:
    """Raise ConfigError where an output would overwrite an input or another output."""
    taken: set[str] = set()
    kept_files = {(status.st_dev, status.st_ino) for path in kept if (status := _status(path)) is not None}
    for out in outputs:
        status = _status(out) if os.path.isfile(out) else None
        if status is not None and (status.st_dev, status.st_ino) in kept_files:
            raise ConfigError(
                "the output would overwrite an input", where=shown(os.fspath(out)), fix="give another name for it"
            )
        place = os.path.realpath(out)
        if place in taken and (os.path.isfile(out) or not os.path.exists(out)):
            raise ConfigError("two outputs have one name", where=shown(os.fspath(out)), fix="give each its own name")
        taken.add(place)


def _status(path: str | Path) -> os.stat_result | None:
    try:
        return file_status(path)
    except (OSError, ValueError):
        return None
