"""What a finished detector is told of its own limits: measured on held-out faces (see `mrigan.evaluation.doubt`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import torch

from mrigan.config import FacesConfig
from mrigan.data import ShardSet, eval_batches
from mrigan.evaluation.doubt import fit_doubt
from mrigan.models import Bundle
from mrigan.models.familiarity import Familiarity, fit_familiarity
from mrigan.video.quality import sharpness

MOST = 4000  # faces looked at, spread evenly over the set
LEAST = 50  # of known faces; from fewer nothing can be said about unknown ones
BATCH = 64


def learn_to_doubt(
    bundle: Bundle, shards: ShardSet, scores: pa.Table, *, workers: int = 0
) -> tuple[Familiarity | None, dict[str, Any]]:
    """Calibration, rules and limits of a detector, and what it is familiar with.

    Known faces are those of every second family; the distance of the others, which it was not fitted to, sets the
    limit.

    Args:
        shards: held-out faces. scores: what the detector says of all of them (see `scores_table`).

    Returns:
        (familiarity, None with fewer than 50 known or other faces; what `fit_doubt` gives)
    """
    ids = np.unique(np.linspace(0, len(shards) - 1, min(MOST, len(shards))).astype(np.int64))
    hidden, sharp = _look(bundle, shards, ids, workers)
    measures = {"sharpness": sharp}
    if "face_px" in shards.rows.column_names:  # sets of an older version do not tell
        measures["side"] = shards.rows["face_px"].to_numpy()
    families = np.unique(shards.rows["family"].take(pa.array(ids)).to_pylist(), return_inverse=True)[1]
    known, others = hidden[families % 2 == 0], hidden[families % 2 == 1]
    familiarity = None
    if min(len(known), len(others)) >= LEAST:
        familiarity = fit_familiarity(known)
        measures["distance"] = familiarity.distance(others).numpy()
    return familiarity, fit_doubt(scores, measures)


def _look(bundle: Bundle, shards: ShardSet, ids: np.ndarray, workers: int) -> tuple[torch.Tensor, np.ndarray]:
    """The detector's hidden layer (N, H) and the sharpness (N,) of the samples `ids`."""
    size = int(bundle.faces.get("size", FacesConfig().size))
    hidden, sharp = [], []
    was_training = bundle.detector.training
    with eval_batches(shards, ids, BATCH, workers=workers, size=size, mri=False) as batches:
        for batch in batches:
            hidden.append(bundle.examine(batch.face, BATCH)[1])
            sharp += [sharpness(face) for face in batch.face.cpu().permute(0, 2, 3, 1).contiguous().numpy()]
    bundle.detector.train(was_training)
    return torch.cat(hidden), np.array(sharp)
