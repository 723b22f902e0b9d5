"""Errors a person can act on: what was found, where, and what to do."""

from __future__ import annotations

from pathlib import Path

from mrigan.text import printable


class MriganError(Exception):
    """Base of every error that Mrigan raises on purpose; the command line prints it without a traceback.

    Args:
        what: what was found, in one sentence.
        where: the file, key or line it was found in.
        fix: what the user can do about it.
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
    """A config file, a dotted override or an option is wrong."""

    exit_code = 2


class InputError(MriganError):
    """A file from outside (video, picture, label file) cannot be used."""


class OutputError(MriganError):
    """A result cannot be written where it was to go."""


class CatalogError(MriganError):
    """A catalog or data set contradicts itself: missing originals, leaks between splits, paths outside the root."""


class ShardError(MriganError):
    """A shard set is incomplete, damaged, or of another plan."""


class CheckpointError(MriganError):
    """A checkpoint is damaged, or belongs to another config."""


class ModelError(MriganError):
    """Model weights are missing, damaged, or do not fit."""


class TrackingError(MriganError):
    """MLflow cannot be used, and was wanted; or what is kept for it cannot be sent."""
