"""How models score shards. A field with a help text is an option of `mrigan evaluate`; see `mrigan.cli.fields`."""

from __future__ import annotations

from dataclasses import dataclass

from mrigan.config.fields import option


@dataclass(frozen=True)
class ScoringOptions:
    """What is scored, and by what."""

    split: str = option("test", "The split of the shards to score.")
    batch_size: int = option(64, "Faces per forward pass.", min=1)
    workers: int = option(2, "Loader processes.", min=0)
    device: str = option("auto", "auto, cpu or cuda.")
