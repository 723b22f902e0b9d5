"""A folder of this machine, by its path or its file:// URL."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mrigan.errors import ShardError
from mrigan.regular import read_regular, reason

FILE_URL = "file://"


def is_url(path: str | Path) -> bool:
    """Whether `path` is a URL for fsspec (`s3://bucket/set`) and not a folder; file:// is a folder."""
    return "://" in str(path) and not str(path).startswith(FILE_URL)


def folder_of(path: str | Path) -> Path:
    """The folder of a path or of a file:// URL."""
    text = str(path)
    return Path(unquote(urlsplit(text).path)) if text.startswith(FILE_URL) else Path(text)


class Folder:
    """Files below a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def stamps(self, folder: str = "") -> dict[str, Any]:
        """Names of the files in a folder, each with a value that changes when the file is replaced.

        Raises:
            ShardError: the folder cannot be listed.
        """
        stamps = {}
        try:
            for path in (self.root / folder).iterdir():
                with suppress(OSError):  # removed meanwhile, or a broken link
                    if not path.name.startswith("."):
                        stamps[path.relative_to(self.root).as_posix()] = path.stat().st_mtime_ns
        except FileNotFoundError:
            pass
        except OSError as error:
            what = f"the folder cannot be listed: {reason(error)}"
            raise ShardError(what, where=self.root / folder, fix=f"mrigan shards verify {self.root}") from None
        return stamps

    def read(self, names: Iterable[str]) -> dict[str, bytes]:
        """The contents of these files, without those that cannot be read."""
        contents = {}
        for name in names:
            with suppress(OSError):
                contents[name] = read_regular(self.root / name)
        return contents
