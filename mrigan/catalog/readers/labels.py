"""Read label files from outside: JSON of any size entry by entry, small lists at once; every error is named."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from mrigan.errors import CatalogError
from mrigan.files import text_encoding
from mrigan.foreign_files import unique_keys
from mrigan.regular import open_regular

READ_CHARS = 2**22  # read at a time: FFHQ's file has 255 MB, FDF's over 1 GB
MAX_ENTRY = 2**24  # characters of one entry; real entries have a few thousand
MAX_LIST = 2**26  # bytes of a list that is read at once; the largest published list has 40 kB
DELIMITERS = frozenset(" \t\r\n,:}")
SPACE = re.compile(r"[ \t\r\n]*")
AGAIN = "copy the file again from the data set"


def json_entries(path: Path, expected: str) -> Iterator[tuple[str, Any]]:
    """(key, value) of the JSON object in a file, one by one; at most one entry is in memory.

    Args:
        expected: the expected contents, for errors.

    Raises:
        CatalogError: no such file, not JSON, not an object, a repeated key, or an entry of more than `MAX_ENTRY`
            characters.
    """
    seen: set[str] = set()
    try:
        with open_regular(path) as start:
            encoding = text_encoding(start.read(4))
        with open(path, encoding=encoding) as file:
            for key, value in _Entries(file, path, expected):
                if key in seen:
                    raise CatalogError(f"entry {key!r} is listed twice", where=path)
                seen.add(key)
                yield key, value
    except OSError as error:
        raise CatalogError(f"cannot be read: {error.strerror}", where=path, fix=expected) from None
    except (ValueError, RecursionError) as error:
        raise CatalogError(f"broken JSON: {error}", where=path, fix=AGAIN) from None


def json_list(path: Path) -> Any:
    """The value of a small JSON file.

    Raises:
        CatalogError: no such file, too large for a list, or not JSON.
    """
    try:
        return json.loads(small_text(path), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise CatalogError(f"broken JSON: {error}", where=path, fix=AGAIN) from None


def small_text(path: Path) -> str:
    """The text of a list.

    Raises:
        CatalogError: no such file, too large for a list, or neither UTF-8 nor UTF-16.
    """
    try:
        with open_regular(path) as file:
            data = file.read(MAX_LIST + 1)
        if len(data) > MAX_LIST:
            what = f"larger than {MAX_LIST // 2**20} MiB: this is not a list of clips"
            raise CatalogError(what, where=path, fix=AGAIN)
        return data.decode(text_encoding(data[:4]))
    except OSError as error:
        raise CatalogError(f"cannot be read: {error.strerror}", where=path) from None
    except UnicodeDecodeError as error:
        raise CatalogError(f"not a text file in UTF-8 or UTF-16: {error}", where=path, fix=AGAIN) from None


class _Entries:
    """Parses the entries of a JSON object from a text that is read piece by piece."""

    def __init__(self, file: TextIO, path: Path, expected: str) -> None:
        self.file, self.path, self.expected = file, path, expected
        self.decoder = json.JSONDecoder(object_pairs_hook=unique_keys)
        self.text, self.at, self.ended = "", 0, False

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        if self._next() != "{":
            self._value()  # raises if it is not JSON at all
            raise CatalogError("not a list of clips", where=self.path, fix=self.expected)
        self.at += 1
        while self._next() != "}":
            key = self._value()
            if not isinstance(key, str) or self._next() != ":":
                raise ValueError("an entry without a name")
            self.at += 1
            yield key, self._value()
            if self._next() not in (",", "}"):
                raise ValueError(f"no comma after entry {key!r}")
            if self._next() == ",":
                self.at += 1
                if self._next() == "}":
                    raise ValueError(f"a comma after the last entry {key!r}")
        self.at += 1
        if self._next():
            raise ValueError("more text after the object")

    def _more(self) -> bool:
        piece = "" if self.ended else self.file.read(max(READ_CHARS, len(self.text) - self.at))
        self.ended = not piece
        self.text, self.at = self.text[self.at :] + piece, 0
        return bool(piece)

    def _next(self) -> str:
        """The next character that is not a space; "" at the end."""
        while True:
            match = SPACE.match(self.text, self.at)
            self.at = match.end() if match else self.at
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._more():
                return ""

    def _value(self) -> Any:
        """The value that starts here. It is complete only if a delimiter follows: `1.5` may be cut after its dot."""
        self._next()
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.at)
                length = end - self.at
                if self.text[end : end + 1] in DELIMITERS or not self._more():  # `_more` moves the text
                    self.at += length
                    return value
            except ValueError:
                if len(self.text) - self.at > MAX_ENTRY:
                    raise ValueError(f"an entry is broken, or has more than {MAX_ENTRY:,} characters") from None
                if not self._more():
                    raise
