"""Verdicts as they come, a JSON line each: what a run of a thousand videos has when it is stopped, and goes on from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from mrigan.detect.inputs import Input, fingerprint
from mrigan.errors import ConfigError, InputError
from mrigan.video.stills import shown


class Journal:
    """A file of JSON lines, one a verdict, appended to and synced; a line that a crash cut off is taken away.

    Attributes:
        verdicts: by path, those that stand: of the same model and settings, on a file of the same size and time.

    Raises:
        InputError: the file is there and no journal. ConfigError: another model, or other settings, wrote it.
    """

    def __init__(self, path: str | Path, model: dict[str, Any]) -> None:
        self.path, self.model = Path(path), model
        self.verdicts: dict[str, dict[str, Any]] = {}
        whole = self._read() if self.path.exists() else 0
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = open(self.path, "ab")  # noqa: SIM115 (closed by __exit__)
        self._file.truncate(whole)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def known(self, item: Input) -> dict[str, Any] | None:
        """The verdict on this input, if it was judged before and has not changed since."""
        verdict = self.verdicts.get(item.path)
        return verdict if verdict and verdict["input"] == fingerprint(item.path) else None

    def add(self, verdict: dict[str, Any]) -> None:
        """Append a verdict; it is on the disk when this returns."""
        self._file.write(json.dumps(verdict, allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _read(self) -> int:
        """Take over the whole lines; returns the bytes that they are."""
        whole = 0
        with open(self.path, "rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break  # cut off by a crash
                self._take(line, number)
                whole += len(line)
        return whole

    def _take(self, line: bytes, number: int) -> None:
        where = f"{shown(os.fspath(self.path))}, line {number}"
        try:
            verdict = json.loads(line)
            path, model = verdict["path"], verdict["model"]
            verdict["input"], verdict["verdict"]
        except (ValueError, KeyError, TypeError):
            raise InputError("not a line of verdicts", where=where, fix="give another file after --jsonl") from None
        if model != json.loads(json.dumps(self.model)):
            raise ConfigError(
                "these verdicts are of another model or of other settings",
                where=where,
                fix="give another file after --jsonl, or judge with the same model and options",
            )
        self.verdicts[path] = verdict
