"""`--jsonl`: a line of JSON per verdict, as soon as it is known; an interrupted run continues from them."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from mrigan.detect.inputs import Input, fingerprint
from mrigan.detect.judge import Judged
from mrigan.detect.options import Outputs
from mrigan.detect.sinks.sink import Sink
from mrigan.detect.verdict import SCHEMA_VERSION, Verdict
from mrigan.errors import ConfigError, InputError
from mrigan.files import Output, failpoint, not_writable, shown

LINE_START = json.dumps({"schema_version": SCHEMA_VERSION, "path": ""})[:-2].encode()  # each of our lines
MAX_LINE_BYTES = 1 << 30  # bytes
OTHER_FILE = "give another file after --jsonl"


class JsonLines(Sink):
    """A file of JSON lines, one per verdict, appended and synced; a line that a crash cut off is removed.

    A device or a pipe gets the lines as well, and is not read.

    Attributes:
        verdicts: by path, the existing ones, of the same model and settings.
    """

    def __init__(self, inputs: Sequence[Input], to: str | Path, outputs: Outputs) -> None:
        super().__init__(inputs, to, outputs)
        self.path = Path(to)
        self.verdicts: dict[str, Verdict] = {}
        self._written = 0
        self._file: BinaryIO | None = None
        self._output: Output | None = None

    def files(self) -> Sequence[Path]:
        return [self.path]

    def open(self) -> None:
        self._output = Output(self.path).try_write()
        self.is_standard_output = self._output.is_standard_output
        self.resumable = self._output.file is not None

    def begin(self, model: Mapping[str, Any]) -> None:
        """Read the existing verdicts.

        Raises:
            InputError: the file holds something else; it is not changed. ConfigError: another model or other settings
                wrote it, or another run is writing it. OutputError: it cannot be opened.
        """
        assert self._output is not None
        path = self._output.file
        if path is None:
            self._file = self._output.open_stream()
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "ab")  # noqa: SIM115 (see `close`)
        except OSError as error:
            raise not_writable(self.path, error) from None
        self._lock()
        try:
            self._written = self._read(path, json.loads(json.dumps(model)))
        except InputError:
            if not self.outputs.force:
                raise
            self.verdicts, self._written = {}, 0
        self._file.truncate(self._written)
        if self._written and not self._ends_a_line(path):
            self._append(b"\n")

    def known(self, item: Input) -> Verdict | None:
        """The verdict on this input, if it was judged before and has not changed since."""
        verdict = self.verdicts.get(item.path)
        if verdict is None:
            return None
        judged = verdict.input and replace(verdict.input, sha256=None)  # the SHA-256 is not computed again
        return verdict if judged == fingerprint(item.path) else None

    def add(self, number: int, item: Input, judged: Judged) -> None:
        """Append a verdict; it is on the disk when this returns.

        Raises:
            OSError: it cannot be written; the file then ends with the verdict before.
        """
        if not judged.earlier:
            self._append(json.dumps(judged.verdict.to_json(), allow_nan=False).encode() + b"\n")

    def finish(self, judged: Mapping[Input, Judged], notes: Sequence[str]) -> bool:
        return True  # they were written as they came

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _append(self, data: bytes) -> None:
        assert self._file is not None
        descriptor = self._file.fileno()
        try:
            failpoint("journal.begun")
            rest = memoryview(data)
            while rest:  # past Python's buffer: what it could not write, it would try again at the end
                rest = rest[os.write(descriptor, rest) :]
            failpoint("journal.line")
            if self.resumable:
                os.fsync(descriptor)
                self._written += len(data)
        except OSError:
            if self.resumable:
                os.ftruncate(descriptor, self._written)
            raise

    def _lock(self) -> None:
        assert self._file is not None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                "another run is writing to this file", where=shown(os.fspath(self.path)), fix=f"wait, or {OTHER_FILE}"
            ) from None
        except OSError:
            return  # a file system without locks

    def _read(self, path: Path, model: Any) -> int:
        """Take over the complete lines, which must be of `model`; returns their bytes."""
        complete = 0
        with open(path, "rb") as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES):
                number += 1
                if not line.startswith(LINE_START) and not (complete and LINE_START.startswith(line)):
                    raise self._foreign(number)
                if not line.endswith(b"\n") and not _is_json(line):
                    break  # cut off by a crash
                self._take(line, number, model)
                complete += len(line)
        return complete

    @staticmethod
    def _ends_a_line(path: Path) -> bool:
        with open(path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"

    def _take(self, line: bytes, number: int, model: Any) -> None:
        try:
            verdict = Verdict.from_json(json.loads(line))
        except (ValueError, KeyError, TypeError):
            raise self._foreign(number) from None
        if verdict.model != model:
            raise ConfigError(
                "the verdicts are of another model or other options",
                where=self._line(number),
                fix=f"{OTHER_FILE}, or use the same model and options",
            )
        self.verdicts[verdict.path] = verdict

    def _foreign(self, number: int) -> InputError:
        return InputError("not a verdict; the file was not changed", where=self._line(number),
                          fix=f"{OTHER_FILE}, or --force to replace this one")  # fmt: skip

    def _line(self, number: int) -> str:
        return f"{shown(os.fspath(self.path))}, line {number}"


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
