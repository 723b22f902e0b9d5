"""Scores tables for the tests: made by hand, face by face, or drawn at random."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mrigan.evaluation import SCORES_SCHEMA


def table(rows: Iterable[Sequence[Any]]) -> pa.Table:
    """A scores table of rows in the order of the schema."""
    columns = list(zip(*rows, strict=True))
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCORES_SCHEMA, strict=True)]
    return pa.table(arrays, schema=SCORES_SCHEMA)


def video(
    name: str,
    label: int,
    probs: Sequence[float],
    *,
    dataset: str = "dfdc",
    method: str = "",
    compression: str = "c23",
    split: str = "test",
    model: str = "m",
) -> list[tuple[Any, ...]]:
    """The rows of one video: a face each tenth frame, or the one row of a video without a face."""
    method = method or ("deepfakes" if label else "original")
    head = (dataset, method, compression, name, split)
    if not probs:
        return [(*head, -1, -1, None, label, None, None, model)]
    with np.errstate(divide="ignore"):
        logits = np.log(probs) - np.log1p(-np.asarray(probs, float))
    return [(*head, 0, 10 * k, k / 3, label, logits[k], p, model) for k, p in enumerate(probs)]


def with_families(scores: pa.Table) -> pa.Table:
    """The same scores with a family for each video, as `mrigan.scoring.shards` names them."""
    return scores.append_column("family", pa.array([f"family of {name}" for name in scores["name"].to_pylist()]))


def random_table(
    seed: int = 0,
    models: Sequence[str] = ("face", "mri"),
    videos: Sequence[tuple[str, int]] = (("val", 20), ("test", 30)),
) -> pa.Table:
    """Random scores, better than guessing, of several models on the same videos; one video in ten has no face."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[Any, ...]] = []
    for split, count in videos:
        for i in range(count):
            label = i % 2
            faces = 0 if rng.random() < 0.1 else int(rng.integers(1, 9))
            method = ("Deepfakes", "NeuralTextures")[int(rng.integers(2))] if label else "original"
            compression = ("c23", "c40")[int(rng.integers(2))]
            for model in models:
                probs = rng.beta(1 + label, 2 - label, faces).clip(0.001, 0.999)
                kind = {"dataset": "faceforensics", "method": method, "compression": compression}
                rows += video(f"{split}{i:03d}.mp4", label, probs.tolist(), split=split, model=model, **kind)
    return table(rows)
