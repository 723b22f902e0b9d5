"""What a model says of the data that it learned from: which sets, how many families, videos and faces."""

from __future__ import annotations

from typing import Any

import numpy as np

from mrigan.data import ShardSet


def learned_data(train: ShardSet, held_out: ShardSet, about: str = "") -> dict[str, Any]:
    """JSON values for model.json's `data`.

    Args:
        about: in words, from `data.about` of the config.

    Returns:
        `about`; `datasets`, the names in the shards; `training` and `validation`: `families`, `real` and `fake`
        (videos), `faces`.
    """
    names = sorted({str(name) for shards in (train, held_out) for name in shards.rows["dataset"].unique().to_pylist()})
    return {"about": about, "datasets": names, "training": _counts(train), "validation": _counts(held_out)}


def _counts(shards: ShardSet) -> dict[str, int]:
    clips = np.array(shards.rows["clip"].to_pylist())
    families = shards.rows["family"].to_pylist()
    fake = shards.labels > 0
    return {
        "families": len({family or clip for family, clip in zip(families, clips, strict=True)}),
        "real": len(set(clips[~fake])),
        "fake": len(set(clips[fake])),
        "faces": len(shards),
    }
