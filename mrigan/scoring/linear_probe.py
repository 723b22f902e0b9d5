"""`mrigan evaluate --linear-probe`: the scores of a linear probe on the frozen encoder of a model."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import torch

from mrigan.data import ShardSet, eval_batches
from mrigan.engine.distributed import choose_device
from mrigan.evaluation.linear_probe import fold_count, held_out_logits
from mrigan.models.bundle import Bundle
from mrigan.progress import bar
from mrigan.scoring.options import ScoringOptions
from mrigan.scoring.shards import scores_table

THRESHOLDS = {"frame": 0.5, "fraction": 0.5, "source": "not searched: the probe weighs both classes alike"}
STRICT = "no person, family or group is in two folds"
RELAXED = (
    "no target person, family or group is in two folds, but donors of a face may be: they tie all people of this split "
    "together"
)


def probe_name(model: str) -> str:
    """What the probe of a model is called in tables."""
    return f"{model} (linear probe)"


def score_probe(bundle: Bundle, shards: ShardSet, model: str, options: ScoringOptions) -> tuple[pa.Table, str]:
    """The held-out scores of the probe, as a scores table, and how it was fitted, as a sentence without its subject.

    Raises:
        InputError: too few separable people.
    """
    clips = np.unique(shards.rows["clip"].to_numpy(zero_copy_only=False), return_inverse=True)[1]
    people, rule = separate_people(shards, clips)
    features = _features(bundle, shards, options)
    logits = held_out_logits(features, shards.labels, clips, people)
    count = fold_count(shards.labels, people)
    about = f"was fitted to this split, each face by the other {count - 1} of {count} folds, and {rule}"
    return scores_table(shards, torch.from_numpy(logits), probe_name(model)), about


def separate_people(shards: ShardSet, clips: np.ndarray) -> tuple[np.ndarray, str]:
    """(N,) a number for each sample: samples with different numbers share no person; and the rule, in words.

    People are those that the samples name (targets and donors). If donors tie so many people together that no folds can
    be made (in Celeb-DF nearly everybody is a donor of somebody), they are ignored.

    Args:
        clips: (N,) number of each sample's clip.
    """
    people = _components(shards, clips, donors=True)
    if fold_count(shards.labels, people):
        return people, STRICT
    return _components(shards, clips, donors=False), RELAXED


def _components(shards: ShardSet, clips: np.ndarray, *, donors: bool) -> np.ndarray:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    numbers: dict[tuple[str, str], int] = {}
    pairs = [
        (clip, numbers.setdefault(tie, len(numbers)))
        for clip, sample in zip(*np.unique(clips, return_index=True), strict=True)
        for tie in _ties(shards, int(sample), donors)
    ]
    count = int(clips.max()) + 1
    rows, columns = np.array(pairs, np.int64).reshape(-1, 2).T
    size = count + len(numbers)
    graph = coo_array((np.ones(len(rows)), (rows, count + columns)), shape=(size, size))
    return connected_components(graph, directed=False)[1][clips]


def _ties(shards: ShardSet, sample: int, donors: bool) -> Iterator[tuple[str, str]]:
    """What a clip has in common with others: clips that share one of these must be in one fold.

    Names of people count for all data sets: two people of one name are kept together, which does no harm.
    """
    about = json.loads(bytes(shards.read(sample)[2]))
    for kind in ("family", "group"):
        if value := shards.rows[kind][sample].as_py():
            yield kind, value
    if original := about.get("original"):
        yield "family", original
    for person in [*about.get("targets", ()), *(about.get("donors", ()) if donors else ())]:
        yield "person", person


def _features(bundle: Bundle, shards: ShardSet, options: ScoringOptions) -> np.ndarray:
    """(N, F) float32 pooled features of the frozen encoder."""
    bundle.to(choose_device(options.device))
    ids, size = np.arange(len(shards)), bundle.faces.size
    batches = eval_batches(shards, ids, options.batch_size, workers=options.workers, size=size, mri=False)
    parts = []
    with batches, bar("features of faces", len(ids), "faces") as advance:
        for batch in batches:
            parts.append(bundle.features(batch.face, options.batch_size))
            advance(len(batch))
    return torch.cat(parts).numpy()
