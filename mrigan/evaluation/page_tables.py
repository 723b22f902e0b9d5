"""The tables of the evaluation page: models side by side, metrics with 95 % intervals, the best ones marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mrigan.evaluation.data_sets import COLUMNS, across
from mrigan.evaluation.page_cells import FALLING, RISING, digits, marked_row, metric_cell, text_row
from mrigan.evaluation.page_originals import summary_rows
from mrigan.evaluation.results import Result

MAX_PERSONS = 10
FIGURES = (
    ("auc", "AUC", RISING),
    ("eer", "EER", FALLING),
    ("ap", "AP", RISING),
    ("tpr_at_fpr_1", "TPR at FPR 1 %", RISING),
    ("tpr_at_fpr_10", "TPR at FPR 10 %", RISING),
    ("log_loss", "Log-loss", FALLING),
    ("brier", "Brier score", FALLING),
    ("ece", "ECE", FALLING),
    ("balanced_accuracy", "Balanced accuracy", RISING),
    ("accuracy", "Accuracy", RISING),
    ("tpr", "TPR", RISING),
    ("tnr", "TNR", RISING),
    ("fpr", "FPR", FALLING),
    ("fnr", "FNR", FALLING),
    ("precision", "Precision", RISING),
    ("f1", "F1", RISING),
)
DECIDED = ("balanced_accuracy", "accuracy", "tpr", "tnr", "fpr", "fnr", "precision", "f1")  # metrics of verdicts
FALLS = {key for key, _, better in FIGURES if better == FALLING}
OF_VIDEOS = (
    ("fraction_auc", "AUC by fraction", RISING),
    ("accuracy_of_all", "Accuracy of all", RISING),
    ("coverage", "Coverage", RISING),
)


def main_tables(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The tables of videos, of faces, and of thresholds: a column per model."""
    videos = [_row(name, results, "video", key, better) for key, name, better in (*FIGURES, *OF_VIDEOS)]
    undecided = [f"{sum(r.video['undecided'].values()):,}" for r in results]
    counts = [f"{r.video['n']:,}" for r in results]
    faces = [_row(name, results, "frame", key, better) for key, name, better in FIGURES]
    thresholds = [
        text_row("Frame threshold", [f"{r.thresholds['frame']:g}" for r in results]),
        text_row("Fraction", [f"{r.thresholds['fraction']:g}" for r in results]),
        text_row("Source", [str(r.thresholds["source"]) for r in results]),
    ]
    return [
        {
            "title": "Videos",
            "rows": [
                *videos,
                *summary_rows(results),
                text_row("Without a face", undecided),
                text_row("Videos", counts),
            ],
            "prose": False,
        },
        {"title": "Faces", "rows": [*faces, text_row("Faces", [f"{r.frame['n']:,}" for r in results])], "prose": False},
        {"title": "Thresholds", "rows": thresholds, "prose": True},
    ]


def _row(name: str, results: Sequence[Result], level: str, key: str, better: int) -> dict[str, Any]:
    figures = [getattr(r, level) for r in results]
    cells = [metric_cell(m, key, r.intervals[level]) for m, r in zip(figures, results, strict=True)]
    return marked_row(name, cells, [None if key in DECIDED and _one_answer(m) else m[key] for m in figures], better)


def _one_answer(metrics: Mapping[str, Any]) -> bool:
    """Whether fakes and reals all got the same verdict: then a TPR of 1 is not marked as the best."""
    positive, negative = metrics["tp"] + metrics["fp"], metrics["tn"] + metrics["fn"]
    return bool(metrics["fake"] and metrics["real"] and not (positive and negative))


def source_rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Each kind of fake against the reals of the same source, a row per model."""
    rows = []
    for result in results:
        for group in result.groups:
            video, frame = group["video"], group["frame"]
            cells = [
                metric_cell(video, "coverage"),
                metric_cell(frame, "auc"),
                *(metric_cell(video, key) for key in ("auc", "tpr", "tnr")),
            ]
            names = {key: group[key] for key in ("dataset", "method", "compression")}
            rows.append({**names, "model": result.model, "real": video["real"], "fake": video["fake"], "cells": cells})
    order = {name: i for i, name in enumerate(r.model for r in results)}
    return sorted(rows, key=lambda row: (row["dataset"], row["compression"], row["method"], order[row["model"]]))


def data_set_table(results: Sequence[Result]) -> dict[str, Any] | None:
    """Metrics of videos by data set, `COLUMNS` per model. None for a single data set."""
    rows = across([{"model": r.model, "data_sets": r.data_sets} for r in results])
    if not rows:
        return None
    missing: dict[str, Any] = dict.fromkeys(COLUMNS) | {"undefined": dict.fromkeys(COLUMNS, "not scored on it")}
    for row in rows:
        row["cells"] = [
            metric_cell(missing, key)
            if model is None
            else metric_cell(model["video"], key, model["intervals"]["video"])
            for model in row["models"]
            for key in COLUMNS
        ]
    names = [f"{name} ↓" if key in FALLS else name for key, name in COLUMNS.items()]
    return {"rows": rows, "measures": names}


def strategy_rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The rules that judge a video, a row per strategy and model."""
    keys = ("auc", "balanced_accuracy", "tpr", "tnr")
    rows = [
        {
            "strategy": row["strategy"].replace("_", " "),
            "model": result.model,
            "threshold": digits(row["threshold"]),
            "cells": [metric_cell(row, key) for key in keys],
        }
        for result in results
        for row in result.strategies
    ]
    names = list(dict.fromkeys(row["strategy"] for row in rows))
    return sorted(rows, key=lambda row: names.index(row["strategy"]))


def person_rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The people (or groups) with the lowest accuracy; empty if people are unknown."""
    rows = [
        {
            "model": result.model,
            "person": f"{person['dataset']} {person['group']}",
            "real": person["real"],
            "fake": person["fake"],
            "accuracy": person["accuracy_of_all"],
            "cells": [metric_cell(person, key) for key in ("accuracy_of_all", "tpr", "tnr")],
        }
        for result in results
        for person in result.persons
    ]
    return sorted(rows, key=lambda row: row["accuracy"])[:MAX_PERSONS]


def comparison_lines(comparisons: Sequence[Mapping[str, Any]]) -> list[str]:
    """The result of DeLong's test for each pair of models, in a sentence."""
    lines = []
    for pair in comparisons:
        names = f"{pair['first']} and {pair['second']}"
        if pair["p"] is None:
            lines.append(f"{names} cannot be compared: {pair['undefined']}.")
            continue
        low, high = pair["interval"]
        verb = "differ significantly" if pair["p"] < 0.05 else "do not differ significantly"
        p = "p < .001" if pair["p"] < 0.001 else f"p = {pair['p']:.3f}"
        lines.append(
            f"{names} {verb} on {pair['videos']:,} common videos: AUC {pair['auc'][0]:.3f} and {pair['auc'][1]:.3f}, "
            f"difference {pair['difference']:+.3f} (95 % {low:+.3f} to {high:+.3f}), {p} by DeLong's test."
        )
    return lines
