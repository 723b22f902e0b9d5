"""The tables that a terminal shows at the end of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Column, Table
from rich.text import Text

from mrigan.evaluation.data_sets import COLUMNS, across
from mrigan.evaluation.page_cells import digits
from mrigan.text import printable

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

ROWS = {"auc": "AUC", "balanced_accuracy": "bal. accuracy", "tpr": "TPR", "tnr": "TNR", "coverage": "coverage"}

ACROSS_SETS = (  # if they can be measured
    ("above original", "originals", "all", "pair_accuracy"),
    ("AUC against originals, mean", "originals", "macro", "auc"),
    ("the MRI alone", "originals", "macro", "mri_auc"),
    ("AUC across data sets", "cross_auc", "across", "auc"),
)


def headline(metrics: Mapping[str, Any]) -> Table:
    """A Rich table of metrics.json with a column per model and split: metrics of videos, and the AUC of faces."""
    results = metrics["results"]
    names = [_lines(result["model"], result["split"]) for result in results]
    table = Table("", *(Column(name, justify="right", overflow="fold") for name in names), box=SIMPLE)
    table.add_row("videos", *(str(result["video"]["n"]) for result in results))
    for key, name in ROWS.items():
        table.add_row(name, *(digits(result["video"][key]) for result in results))
    table.add_row("AUC of faces", *(digits(result["frame"]["auc"]) for result in results))
    for name, *keys in ACROSS_SETS:
        values = [_within(result, keys) for result in results]
        if any(value is not None for value in values):
            table.add_row(name, *map(digits, values))
    return table


def training_lines(training: Iterable[tuple[str, Mapping[str, str]]]) -> list[tuple[bool, str]]:
    """(whether it is a warning, line) for each model: whether it was trained on the videos that it was scored on.

    Args:
        training: (model, `training` of metrics.json).
    """
    return [
        (about["state"] in ("trained", "chosen", "shared"), f"{model} {about['says']}.") for model, about in training
    ]


def data_set_tables(metrics: Mapping[str, Any]) -> list[Table]:
    """For each split with several data sets a Rich table with a column per model: metrics of the videos of each data
    set, with 95 % intervals."""
    tables = []
    for split in dict.fromkeys(result["split"] for result in metrics["results"]):
        results = [result for result in metrics["results"] if result["split"] == split]
        rows = across(results)
        if not rows:
            continue
        models = (Column(_lines(r["model"], split), overflow="fold") for r in results)
        table = Table(Column("data set", overflow="fold"), "", *models, box=SIMPLE)
        for row in rows:
            name = _lines(row["name"], f"{row['real']} real, {row['fake']} fake")
            columns = (_lines(*(_with_interval(model, key) for key in COLUMNS)) for model in row["models"])
            table.add_row(name, _lines(*COLUMNS.values()), *columns)
            table.add_section()
        tables.append(table)
    return tables


def _within(figures: Mapping[str, Any], keys: Iterable[str]) -> Any:
    """The value of nested keys; None if one of them is not there."""
    value: Any = figures
    for key in keys:
        value = (value or {}).get(key)
    return value


def _lines(*lines: str) -> Text:
    """A cell of several lines."""
    return Text("\n".join(map(printable, lines)))


def _with_interval(row: Mapping[str, Any] | None, key: str) -> str:
    if row is None:
        return "–"
    interval = row["intervals"]["video"].get(key)
    spread = f"  {interval[0]:.2f}–{interval[1]:.2f}" if interval and row["video"][key] is not None else ""
    return digits(row["video"][key]) + spread
