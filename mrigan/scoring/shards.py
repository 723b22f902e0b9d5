"""From shards to a scores table: every face of a split, scored by a detector."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from mrigan.data import ShardSet, eval_batches
from mrigan.engine.distributed import choose_device
from mrigan.evaluation.schema import CHECKED, MRI, OPTIONAL, VIDEO
from mrigan.evaluation.scores import check_scores
from mrigan.models import Bundle
from mrigan.progress import bar
from mrigan.shardset.layout import Layout
from mrigan.shardset.rows import select_rows

NO_PREDICTION = ("no_face", "unreadable")  # why a video that was asked about has no face in the shards


def score_shards(
    bundle: Bundle,
    shards: ShardSet,
    *,
    model: str = "",
    batch_size: int = 64,
    workers: int = 2,
    device: torch.device | str = "auto",
    progress: bool = True,
) -> pa.Table:
    """Score every face of `shards` in this process.

    Args:
        bundle: moved to `device`.
        model: what the table's `model` column says.
        device: a torch device, or "auto".

    Returns:
        A checked scores table (see `mrigan.evaluation.scores`), with a row of its own for each video without a face.

    Raises:
        ShardError: a sample is damaged.
    """
    chosen = choose_device("auto") if device == "auto" else torch.device(device)
    ids = np.arange(len(shards))
    logits, mris = score_faces(
        bundle.to(chosen), shards, ids, batch_size=batch_size, workers=workers, progress=progress
    )
    return scores_table(shards, logits, model, mris)


def score_faces(
    bundle: Bundle,
    shards: ShardSet,
    ids: Any,
    *,
    batch_size: int = 64,
    workers: int = 2,
    progress: bool = False,
    alive: Callable[[], None] = lambda: None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Logits (N,) float32 on the CPU of the samples `ids`, in their order, and the means (N,) of their MRIs (see
    `Bundle.score_with_mri`); the bundle stays on its device.

    `alive` is called after every batch.
    """
    parts: list[tuple[torch.Tensor, torch.Tensor | None]] = [bundle.score_with_mri(torch.zeros(0, 3, 1, 1))]
    shown = bar("scoring faces", len(ids), "faces") if progress else nullcontext(lambda items=1, note="": None)
    size = bundle.faces.size
    with eval_batches(shards, ids, batch_size, workers=workers, size=size, mri=False) as batches, shown as advance:
        for batch in batches:
            parts.append(bundle.score_with_mri(batch.face, batch_size))
            advance(len(batch))
            alive()
    logits, mris = zip(*parts, strict=True)
    return torch.cat(logits), None if mris[0] is None else torch.cat(mris)


def scores_table(shards: ShardSet, logits: torch.Tensor, model: str, mris: torch.Tensor | None = None) -> pa.Table:
    """The scores table of a whole split: `logits` (N,) of all samples of `shards` in order, the means `mris` (N,) of
    their MRIs, and its faceless videos."""
    wide = logits.double()
    columns = {name: shards.rows[name] for name in (*VIDEO, "split", "person", "frame", "time", *OPTIONAL.names)}
    columns |= {
        "label": pa.array(shards.labels),
        "logit": pa.array(wide.numpy()),
        "prob": pa.array(wide.sigmoid().numpy()),
        MRI.name: pa.array([None] * len(shards), MRI.type) if mris is None else pa.array(mris.double().numpy()),
    }
    scored = pa.table(columns)
    table = pa.concat_tables([scored, _faceless(shards)], promote_options="permissive")
    table = table.append_column("model", pa.array([model or "model"] * len(table)))
    return check_scores(table.select(CHECKED.names), "the shards' scores")


def faceless_videos(shards: ShardSet) -> dict[tuple[str, ...], dict[str, Any]]:
    """By id, the videos of the split that have no face in the shards, with `label`, `reason`, `family` and `group`."""
    known = set(zip(*(shards.rows[name].to_pylist() for name in VIDEO), strict=True))
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for folder in shards.folders:
        columns = [*VIDEO, "label", "reason", *OPTIONAL.names]
        rows = select_rows(Layout(folder).samples, columns, splits=[shards.split], stored=False)
        for row in rows.to_pylist():
            video = tuple(row[name] for name in VIDEO)
            if video not in known and str(row["reason"]).startswith(NO_PREDICTION):
                found[video] = row
    return dict(sorted(found.items()))


def _faceless(shards: ShardSet) -> pa.Table:
    """A row for each video of the split in which no face was found: it is no prediction, and it is counted."""
    rows = [
        {name: row[name] for name in (*VIDEO, *OPTIONAL.names)}
        | {"split": shards.split, "label": int(row["label"] == "fake")}
        for row in faceless_videos(shards).values()
    ]
    blank = {"person": -1, "frame": -1, "time": None, "logit": None, "prob": None, MRI.name: None}
    schema = pa.schema([field for field in CHECKED if field.name != "model"])
    return pa.Table.from_pylist([row | blank for row in rows], schema=schema)
