"""Cross-AUC: the real videos of one data set against the fakes of another.

The AUC within a data set hides how far its scores are shifted. If the reals of one data set score higher than the fakes
of another, no threshold serves both, and the AUC across them shows it. A source is a data set in one compression.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mrigan.evaluation.curves import Ranking
from mrigan.evaluation.estimates import Floats, Metrics, estimate, mean_of_sets
from mrigan.evaluation.intervals import UNKNOWN, clusters_of, kind_of_clusters

SOURCE = ("dataset", "compression")
WITHIN, ACROSS = "within", "across"
Source = tuple[str, str]
Rows = np.ndarray
Cells = dict[tuple[Source, Source], Rows]


def cross_auc(videos: pa.Table) -> dict[str, Any] | None:
    """The AUC of videos for the reals of every source against the fakes of every source, of one model.

    Args:
        videos: see `video_table`. The score of a video is the mean probability of its faces.

    Returns:
        None unless reals of one source can be compared with fakes of another. Else `{"cells": [cell], "within": mean,
        "across": mean}`. A cell has `reals` and `fakes` (each `{"dataset", "compression", "videos"}`), `auc` and
        `interval` (None with fewer than ten families of either). The means are over the cells of one source and over
        those of two, with `auc`, `interval` and `cells`, their number; `within` is None if there is no such cell.
    """
    judged = videos.filter(pc.greater(videos["faces"], 0))
    sources: list[Any] = list(zip(*(judged[name].to_pylist() for name in SOURCE), strict=True))
    fake = judged["label"].to_numpy().astype(bool)
    of_source = {source: np.array([other == source for other in sources]) for source in sorted(set(sources))}
    reals = {source: np.flatnonzero(rows & ~fake) for source, rows in of_source.items() if (rows & ~fake).any()}
    fakes = {source: np.flatnonzero(rows & fake) for source, rows in of_source.items() if (rows & fake).any()}
    cells: Cells = {(a, b): np.concatenate([reals[a], fakes[b]]) for a in reals for b in fakes}
    if all(a == b for a, b in cells):
        return None
    kind = kind_of_clusters(judged)
    codes = clusters_of(judged, kind)
    families = {(a, b): min(len(np.unique(codes[rows])) for rows in (reals[a], fakes[b])) for a, b in cells}
    every = min(len(np.unique(codes[rows])) for rows in (fake, ~fake))
    units: dict[Any, int] = {**families, WITHIN: every, ACROSS: every}
    if kind == UNKNOWN:
        units = dict.fromkeys(units, 0)
    estimates = estimate(_metrics(judged, cells), codes, units, bounded=units.keys())

    def described(source: Source, rows: Rows) -> dict[str, Any]:
        return {**dict(zip(SOURCE, source, strict=True)), "videos": len(rows)}

    def figures(key: Any) -> dict[str, Any]:
        return {"auc": estimates[key].value, "interval": estimates[key].interval}

    within = sum(a == b for a, b in cells)
    return {
        "cells": [
            {"reals": described(a, reals[a]), "fakes": described(b, fakes[b]), **figures((a, b))} for a, b in cells
        ],
        WITHIN: {**figures(WITHIN), "cells": within} if within else None,
        ACROSS: {**figures(ACROSS), "cells": len(cells) - within},
    }


def _metrics(videos: pa.Table, cells: Cells) -> Metrics:
    """The AUC of every cell, and the two means, from the weights of the videos."""
    fake, score = videos["label"].to_numpy(), videos["prob"].to_numpy()
    rankings = {key: Ranking(fake[rows], score[rows]) for key, rows in cells.items()}

    def metrics(weights: Floats) -> dict[Any, Floats]:
        found: dict[Any, Floats] = {key: rankings[key].curve(weights[:, rows]).auc() for key, rows in cells.items()}
        within = [found[a, b] for a, b in cells if a == b]
        across = [found[a, b] for a, b in cells if a != b]
        found[WITHIN] = mean_of_sets(np.stack(within, axis=-1)) if within else np.full(len(weights), np.nan)
        found[ACROSS] = mean_of_sets(np.stack(across, axis=-1))
        return found

    return metrics
