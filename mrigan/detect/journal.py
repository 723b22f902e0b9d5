"""Verdicts as they come, a JSON line each: what a run of a thousand videos has when it is stopped, and goes on from."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from mrigan.detect.inputs import Input, fingerprint
from mrigan.detect.verdict import SCHEMA_VERSION
from mrigan.errors import ConfigError, InputError
from mrigan.files import Output, failpoint, not_writable, shown

BEGINS = json.dumps({"schema_version": SCHEMA_VERSION, "path": ""})[:-2].encode()  # each of our lines
LONGEST_LINE = 1 << 30  # bytes
OTHER_FILE = "give another file after --jsonl"


class Journal:
    """A file of JSON lines, one a verdict, appended to and synced; a line that a crash cut off is taken away.

    A device or a pipe gets the lines as well, and is not read.

    Args:
        force: a file that is no journal is emptied.

    Attributes:
        verdicts: by path, those that stand: of the same model and settings, on a file of the same size and time.

    Raises:
        InputError: the file is there and no journal; it is not touched. ConfigError: another model, or other settings,
            wrote it; or another run is writing it. OutputError: it cannot be opened.
    """

    def __init__(self, path: str | Path | Output, model: dict[str, Any], force: bool = False) -> None:
        output = path if isinstance(path, Output) else Output(path)
        self.path, self.model = output.path, model
        self.verdicts: dict[str, dict[str, Any]] = {}
        self._written = 0
        self._stream = output.open_stream()
        self._file: BinaryIO
        if self._stream is not None:
            self._file = self._stream
            return
        assert output.file is not None
        try:
            output.file.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(output.file, "ab")  # noqa: SIM115 (closed by __exit__)
        except OSError as error:
            raise not_writable(self.path, error) from None
        try:
            self._lock()
            try:
                self._written = self._read(output.file)
            except InputError:
                if not force:
                    raise
                self.verdicts, self._written = {}, 0
            self._file.truncate(self._written)
            if self._written and not self._ends_a_line(output.file):
                self._append(b"\n")
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def known(self, item: Input) -> dict[str, Any] | None:
        """The verdict on this input, if it was judged before and has not changed since."""
        verdict = self.verdicts.get(item.path)
        return verdict if verdict and _same_file(verdict["input"], fingerprint(item.path)) else None

    def add(self, verdict: dict[str, Any]) -> None:
        """Append a verdict; it is on the disk when this returns.

        Raises:
            OSError: it cannot be written; the file then ends with the verdict before.
        """
        self._append(json.dumps(verdict, allow_nan=False).encode() + b"\n")

    def _append(self, data: bytes) -> None:
        descriptor = self._file.fileno()
        try:
            failpoint("journal.begun")
            rest = memoryview(data)
            while rest:  # past Python's buffer: what it could not write, it would try again at the end
                rest = rest[os.write(descriptor, rest) :]
            failpoint("journal.line")
            if self._stream is None:
                os.fsync(descriptor)
                self._written += len(data)
        except OSError:
            if self._stream is None:
                os.ftruncate(descriptor, self._written)
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                "another run writes its verdicts there", where=shown(os.fspath(self.path)), fix=f"wait, or {OTHER_FILE}"
            ) from None
        except OSError:
            return  # a file system without locks

    def _read(self, path: Path) -> int:
        """Take over the complete lines; returns the bytes that they are."""
        complete = 0
        with open(path, "rb") as file:
            number = 0
            while line := file.readline(LONGEST_LINE):
                number += 1
                if not line.startswith(BEGINS) and not (complete and BEGINS.startswith(line)):
                    raise self._foreign(number)
                if not line.endswith(b"\n") and not _is_json(line):
                    break  # cut off by a crash
                self._take(line, number)
                complete += len(line)
        return complete

    @staticmethod
    def _ends_a_line(path: Path) -> bool:
        with open(path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"

    def _take(self, line: bytes, number: int) -> None:
        try:
            verdict = json.loads(line)
            path, model = verdict["path"], verdict["model"]
            verdict["input"], verdict["verdict"]
        except (ValueError, KeyError, TypeError):
            raise self._foreign(number) from None
        if model != json.loads(json.dumps(self.model)):
            raise ConfigError(
                "these verdicts are of another model or of other settings",
                where=self._line(number),
                fix=f"{OTHER_FILE}, or judge with the same model and options",
            )
        self.verdicts[path] = verdict

    def _foreign(self, number: int) -> InputError:
        return InputError("not a line of verdicts; the file is not touched", where=self._line(number),
                          fix=f"{OTHER_FILE}, or --force to replace this one")  # fmt: skip

    def _line(self, number: int) -> str:
        return f"{shown(os.fspath(self.path))}, line {number}"


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _same_file(judged: dict[str, Any] | None, now: dict[str, int] | None) -> bool:
    """Whether size and time are the same; the SHA-256 of a verdict is not read again."""
    if judged is None or now is None:
        return judged is None and now is None
    return all(judged.get(key) == value for key, value in now.items())
