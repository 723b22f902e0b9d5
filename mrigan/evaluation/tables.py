"""The report's tables as CSV files, for a paper or a spreadsheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mrigan.evaluation.cross_auc import SOURCE
from mrigan.evaluation.csv_text import csv_text
from mrigan.evaluation.data_sets import COLUMNS, across
from mrigan.evaluation.originals import ALL, MACRO, METRICS, SET
from mrigan.evaluation.results import Result
from mrigan.files import write_text

TABLE_1 = {  # the ten rows of MRI-GAN's Table 1, with its names
    "True Positive Rate (TPR)": "tpr",
    "False Negative Rate (FNR)": "fnr",
    "False Positive Rate (FPR)": "fpr",
    "True Negative Rate (TNR)": "tnr",
    "Accuracy": "accuracy",
    "Balanced Accuracy": "balanced_accuracy",
    "F1-score": "f1",
    "Precision": "precision",
    "Specificity": "tnr",
    "Area Under the curve ROC": "auc",
}


def write_tables(folder: Path, results: Sequence[Result]) -> None:
    """Write the tables of one split: Table 1 (videos, with 95 % intervals), Table 2 (the thresholds and their sources),
    the sources, the other rules for a video, the fakes against their originals, and, if there are several data sets, a
    table of them and the AUC across them. Empty fields are undefined."""
    header = [name for r in results for name in (r.model, f"{r.model} low", f"{r.model} high")]
    rows: list[list[Any]] = [["Metric", *header]]
    for name, key in TABLE_1.items():
        row: list[Any] = [name]
        for r in results:
            row += [r.video[key], *r.intervals["video"].get(key, (None, None))]
        rows.append(row)
    _write(folder / "table-1.csv", rows)
    settings = [[r.model, r.thresholds["frame"], r.thresholds["fraction"], r.thresholds["source"]] for r in results]
    _write(folder / "table-2.csv", [["Method", "FAKE_FRAME_THRESHOLD", "FAKE_FRACTION", "Source"], *settings])
    named, kinds = ("dataset", "compression", "method"), ("real", "fake", "coverage", "auc", "eer", "ap", "tpr", "tnr")
    sources = [
        [r.model, *(g[k] for k in named), *(g["video"][k] for k in kinds), g["frame"]["auc"]]
        for r in results
        for g in r.groups
    ]
    _write(folder / "sources.csv", [["model", *named, *kinds, "auc of faces"], *sources])
    keys = ("strategy", "threshold", "auc", "ap", "eer", "balanced_accuracy", "tpr", "tnr")
    rules = [[r.model, *(row[k] for k in keys)] for r in results for row in r.strategies]
    _write(folder / "rules.csv", [["model", *keys], *rules])
    _write_originals(folder, results)
    if table := across([{"model": r.model, "data_sets": r.data_sets} for r in results]):
        _write(folder / "data-sets.csv", _data_sets(table, [r.model for r in results]))


def _write_originals(folder: Path, results: Sequence[Result]) -> None:
    """Fakes against their own originals (a line per set, then the sums), and the AUC across data sets, if any."""
    lines = [
        [r.model, *(row[key] for key in SET), row["fakes"], row["families"],
         *(value for key in METRICS for value in (row.get(key), *row["intervals"].get(key, (None, None))))]
        for r in results if r.originals
        for row in [*r.originals["sets"], r.originals[MACRO], r.originals[ALL]]
    ]  # fmt: skip
    if lines:
        columns = [name for key in METRICS for name in (key, f"{key} low", f"{key} high")]
        _write(folder / "originals.csv", [["model", *SET, "fakes", "families", *columns], *lines])
    cells = [
        [r.model, *cell["reals"].values(), *cell["fakes"].values(), cell["auc"], *(cell["interval"] or (None, None))]
        for r in results if r.cross_auc
        for cell in r.cross_auc["cells"]
    ]  # fmt: skip
    if cells:
        sides = [f"{side} {key}" for side in ("reals", "fakes") for key in (*SOURCE, "videos")]
        _write(folder / "cross-auc.csv", [["model", *sides, "auc", "auc low", "auc high"], *cells])


def _data_sets(rows: Sequence[Mapping[str, Any]], models: Sequence[str]) -> list[list[Any]]:
    """A line per data set; for each model its metrics, each with its interval, and its coverage."""
    columns = [name for key in COLUMNS for name in (key, f"{key} low", f"{key} high")] + ["coverage"]
    header = ["dataset", "compression", "real", "fake", *(f"{model} {name}" for model in models for name in columns)]
    lines: list[list[Any]] = [header]
    for row in rows:
        line = [row[key] for key in header[:4]]
        for model in row["models"]:
            for key in COLUMNS:
                bounds = (None, None) if model is None else model["intervals"]["video"].get(key, (None, None))
                line += [None if model is None else model["video"][key], *bounds]
            line.append(None if model is None else model["video"]["coverage"])
        lines.append(line)
    return lines


def _write(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    write_text(path, csv_text(rows))
