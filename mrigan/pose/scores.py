"""From a split's landmarks to a scores table, in which faces and videos without a pose are no predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from mrigan.data import ShardSet
from mrigan.errors import ShardError
from mrigan.evaluation.schema import CHECKED, OPTIONAL, VIDEO
from mrigan.evaluation.scores import check_scores
from mrigan.scoring.shards import scores_table


def pose_scores(shards: ShardSet, logits: NDArray[np.float64], model: str) -> pa.Table:
    """The scores table of a split.

    Args:
        logits: (N,) of all samples of `shards`; NaN = no answer. Such a face has no row. A video without an answered
            face has one row of its own, as one without a face.

    Raises:
        ShardError: no face has an answer.
    """
    answered = np.flatnonzero(np.isfinite(logits))
    if not len(answered):
        raise ShardError(
            f"no face of split {shards.split!r} has a head pose", where=shards.folders[0], fix="see the log for why"
        )
    table = scores_table(shards.subset(answered), torch.from_numpy(logits[answered]), model)
    present = set(zip(*(table[name].to_pylist() for name in VIDEO), strict=True))
    blank: dict[str, Any] = {"person": -1, "frame": -1, "time": None, "logit": None, "prob": None, "model": model}
    absent = {}
    names = (*VIDEO, *OPTIONAL.names)
    for label, *values in zip(shards.labels.tolist(), *(shards.rows[name].to_pylist() for name in names), strict=True):
        about = dict(zip(names, values, strict=True))
        video = tuple(about[name] for name in VIDEO)
        if video not in present:
            absent[video] = {**about, "split": shards.split, "label": label, **blank}
    more = pa.Table.from_pylist(list(absent.values()), schema=CHECKED)
    return check_scores(pa.concat_tables([table, more]), "the shards' scores")
