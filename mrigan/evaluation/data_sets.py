"""The metrics of a model on each data set, and the table that compares data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mrigan.evaluation.intervals import intervals_of
from mrigan.evaluation.metrics import frame_metrics
from mrigan.evaluation.videos import video_metrics

COLUMNS = {"auc": "AUC", "eer": "EER", "balanced_accuracy": "Balanced accuracy"}  # of videos


def data_set_rows(
    faces: pa.Table, videos: pa.Table, threshold: float, whole: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The metrics of one model on every (data set, compression), with intervals.

    Args:
        faces, videos: see `Result`. threshold: of a face.
        whole: the model's `frame`, `video` and `intervals` over all data sets, used if there is only one.

    Returns:
        `{"dataset", "compression", "frame", "video", "intervals"}` each, sorted by name.
    """
    sources = sorted({(v["dataset"], v["compression"]) for v in videos.select(["dataset", "compression"]).to_pylist()})
    rows: list[dict[str, Any]] = []
    for dataset, compression in sources:
        figures = dict(whole)
        if len(sources) > 1:
            f, v = (of_source(table, dataset, compression) for table in (faces, videos))
            figures = {
                "frame": frame_metrics(f["label"], f["prob"], threshold),
                "video": video_metrics(v),
                "intervals": intervals_of(f, v, threshold),
            }
        rows.append({"dataset": dataset, "compression": compression, **figures})
    return rows


def of_source(table: pa.Table, dataset: str, compression: str) -> pa.Table:
    """The rows of one data set in one compression."""
    return table.filter(pc.and_(pc.equal(table["dataset"], dataset), pc.equal(table["compression"], compression)))


def across(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The cross-data-set table of one split: a row per data set; empty if there is only one.

    Args:
        results: of one split, as in metrics.json; each has a `model` and its `data_sets`.

    Returns:
        `{"name", "dataset", "compression", "real", "fake", "models": [row of `data_set_rows` or None, in the order of
        the results]}`.
    """
    sources: dict[tuple[str, str], list[Mapping[str, Any] | None]] = {}
    for number, result in enumerate(results):
        for row in result["data_sets"]:
            rows = sources.setdefault((row["dataset"], row["compression"]), [None] * len(results))
            rows[number] = row
    table = []
    for (dataset, compression), rows in sorted(sources.items()) if len(sources) > 1 else []:
        video = next(row["video"] for row in rows if row is not None)
        counts = {"real": video["real"], "fake": video["fake"]}
        name = f"{dataset} {compression}".strip()
        table.append({"name": name, "dataset": dataset, "compression": compression, **counts, "models": rows})
    return table
