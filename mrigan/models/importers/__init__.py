"""Detectors that others published, as model folders: each with the preprocessing and the rule that it was made for.

Nothing is downloaded: `mrigan weights list` says where each file can be had. To add a kind: a file here with a function
that reads its files, and a line in `IMPORTERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mrigan.errors import ConfigError
from mrigan.models.importers.authors import read_authors
from mrigan.models.importers.deepfakebench import read_deepfakebench
from mrigan.models.importers.dfdc_winner import read_dfdc_winner
from mrigan.models.importers.imported import Imported
from mrigan.models.importers.sbi import read_sbi

IMPORTERS: dict[str, Callable[[Sequence[Path]], Imported]] = {
    "authors": read_authors,
    "dfdc-winner": read_dfdc_winner,
    "sbi": read_sbi,
    "deepfakebench": read_deepfakebench,
}

__all__ = ["IMPORTERS", "Imported", "read_published"]


def read_published(kind: str, files: Sequence[str | Path]) -> Imported:
    """What is in published files, checked; `Imported.save` makes a model of it.

    Args:
        kind: a key of `IMPORTERS`.

    Raises:
        ConfigError: no such kind. ModelError: a file is damaged, contains code, or is not what `kind` stands for.
    """
    if kind not in IMPORTERS:
        raise ConfigError(f"no published models are known as {kind!r}", fix=f"one of: {', '.join(IMPORTERS)}")
    return IMPORTERS[kind]([Path(file) for file in files])
