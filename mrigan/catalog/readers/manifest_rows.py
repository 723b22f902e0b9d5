"""Read the rows of a manifest: CSV as spreadsheets and pandas write it, or JSON lines.

The file is read line by line, so that a file that is not a manifest is refused fast and without much memory.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from mrigan.errors import CatalogError
from mrigan.files import text_encoding

LAYOUT = "a CSV file with a header or JSON lines; columns path and label (real, fake, 0, 1; 1 = fake) are required"
REQUIRED = ("path", "label")
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
MAX_LINE = 2**20  # characters; real rows have some hundred
MAX_HEADER = 200  # characters of a header in an error
ARRAY = "turn it into JSON lines: jq -c '.[]' {name} > clips.jsonl"
BY_NAME = "turn it into JSON lines: jq -c 'to_entries[] | {{path: .key}} + .value' {name} > clips.jsonl"
PRETTY = "write one object per line: jq -c . {name} > clips.jsonl"


class Rows:
    """The rows of a manifest; iterate once.

    Attributes:
        notes: hints for the user about the format of the file.

    Raises:
        CatalogError: while iterating: unreadable, not text, a missing column, a broken row.
    """

    def __init__(self, manifest: Path) -> None:
        self.manifest = manifest
        self.notes: list[str] = []

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(line number, row); keys in lower case."""
        try:
            with open(self.manifest, "rb") as file:
                encoding = text_encoding(file.read(4))
            with open(self.manifest, encoding=encoding, newline="") as text:
                yield from self._rows(text)
        except UnicodeDecodeError as error:
            raise CatalogError(
                f"not a text file in UTF-8 or UTF-16: {error}", where=self.manifest, fix="save it as UTF-8"
            ) from None
        except OSError as error:
            raise CatalogError(f"cannot be read: {error.strerror}", where=self.manifest) from None

    def _rows(self, text: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
        lines = self._lines(text)
        first = 0  # empty lines and comments before the rows
        start = ""
        for line in lines:
            start = line.strip()
            if start and not start.startswith("#") and not start.lower().startswith("sep="):
                lines = itertools.chain([line], lines)
                break
            first += 1
            start = ""
        if start.startswith("["):
            raise CatalogError("this is a JSON array, not JSON lines", where=self.manifest, fix=self._advice(ARRAY))
        yield from self._json(lines, first) if start.startswith("{") else self._csv(lines, first)

    def _lines(self, text: TextIO) -> Iterator[str]:
        for number in itertools.count(1):
            line = text.readline(MAX_LINE + 1)
            if len(line) > MAX_LINE:
                raise CatalogError(
                    f"a line of more than {MAX_LINE:,} characters", where=f"{self.manifest}, line {number}", fix=LAYOUT
                )
            if not line:
                return
            yield line

    def _json(self, lines: Iterator[str], before: int) -> Iterator[tuple[int, dict[str, Any]]]:
        for line, text in enumerate(lines, before + 1):
            if text.strip():
                yield line, self._object(text.strip(), f"{self.manifest}, line {line}")

    def _object(self, text: str, where: str) -> dict[str, Any]:
        try:
            pairs = json.loads(text, object_pairs_hook=list)
        except (ValueError, RecursionError) as error:
            fix = self._advice(PRETTY) if text == "{" else LAYOUT
            raise CatalogError(f"broken JSON: {error}", where=where, fix=fix) from None
        if not text.startswith("{"):
            raise CatalogError("a row without path and label", where=where, fix=LAYOUT)
        row = {str(key).strip().lower(): value for key, value in pairs}
        if not row.keys() >= set(REQUIRED):
            by_name = bool(pairs) and all(map(_is_object, row.values()))
            fix = self._advice(BY_NAME) if by_name else LAYOUT
            raise CatalogError("a row without path and label", where=where, fix=fix)
        if len(row) < len(pairs):
            keys = [str(key).strip().lower() for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise CatalogError(f"{twice} is twice in one row", where=where)
        return row

    def _csv(self, lines: Iterator[str], before: int) -> Iterator[tuple[int, dict[str, Any]]]:
        first = next(lines, "")
        delimiter = max(DELIMITERS, key=lambda d: len(set(REQUIRED) & set(_header(first, d))))
        table = csv.reader(itertools.chain([first], lines), delimiter=delimiter, strict=True)
        try:
            header = [name.strip().lower() for name in next(table, [])]
            self._check(header)
            if delimiter != ",":
                self.notes.append(f"the fields are separated by {DELIMITERS[delimiter]}")
            unnamed = [index for index, name in enumerate(header) if not name]
            for fields in table:
                if not any(field.strip() for field in fields):
                    continue
                line = before + table.line_num
                while len(fields) > len(header) and not fields[-1].strip():
                    fields.pop()
                if len(fields) != len(header):
                    raise CatalogError(
                        f"a row has {len(fields)} fields, but the header has {len(header)} fields",
                        where=f"{self.manifest}, line {line}",
                    )
                row: dict[str, Any] = dict(zip(header, fields, strict=True))
                if unnamed:
                    del row[""]
                yield line, row
        except csv.Error as error:
            raise CatalogError(
                f"broken CSV: {error}", where=f"{self.manifest}, line {before + table.line_num}", fix=LAYOUT
            ) from None

    def _check(self, header: list[str]) -> None:
        missing = [name for name in REQUIRED if name not in header]
        twice = sorted({name for name in header if name and header.count(name) > 1})
        if missing or twice:
            fault = f"column {' and '.join(missing)} missing" if missing else f"two columns have the name {twice[0]}"
            shown = ", ".join(header) or "(empty)"
            shown = shown[:MAX_HEADER] + "…" * (len(shown) > MAX_HEADER)
            raise CatalogError(f"{fault}; the header is: {shown}", where=self.manifest, fix=LAYOUT)

    def _advice(self, advice: str) -> str:
        return advice.format(name=self.manifest.name)


def _header(line: str, delimiter: str) -> list[str]:
    try:
        return [name.strip().lower() for name in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


def _is_object(value: Any) -> bool:
    """Whether a value that was parsed with `object_pairs_hook=list` is a JSON object."""
    return isinstance(value, list) and bool(value) and all(isinstance(pair, tuple) for pair in value)
