"""Errors that users can act on: what is wrong, where, and what to do."""

from __future__ import annotations

from pathlib import Path

from mrigan.text import printable


class MriganError(Exception):
    """Base of every error that Mrigan raises on purpose; the command line prints it without a traceback.

    Args:
        what: what is wrong, in one sentence.
        where: the file, key or line.
        fix: what the user can do.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | Path | None = None, fix: str | None = None) -> None:
        self.what, self.where, self.fix = what, where, fix
        lines = [what]
        if where is not None:
            lines.append(f"  where: {printable(str(where))}")
        if fix is not None:
            lines.append(f"  to do: {fix}")
        super().__init__("\n".join(lines))


class ConfigError(MriganError):
    """A config file, an override or an option is wrong."""

    exit_code = 2


class InputError(MriganError):
    """A file from outside (video, picture, label file) cannot be used."""


class OutputError(MriganError):
    """A result cannot be written to the given path."""


class CatalogError(MriganError):
    """A catalog or data set contradicts itself: missing originals, leaks between splits, paths outside the root."""


class ShardError(MriganError):
    """A shard set is incomplete, damaged, or belongs to another plan."""


class CheckpointError(MriganError):
    """A checkpoint is damaged, or belongs to another config."""


class ModelError(MriganError):
    """Model weights are missing, damaged, or do not fit."""


class TrackingError(MriganError):
    """MLflow is required but cannot be used, or the entries kept for it cannot be sent."""


def described(error: BaseException) -> str:
    """One line about an exception."""
    said = str(error).split("\n", 1)[0]
    return f"{type(error).__name__}{': ' if said else ''}{said}"
