"""The few figures that a terminal shows when an evaluation ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mrigan.evaluation.data_sets import SHOWN as MEASURES
from mrigan.evaluation.data_sets import across
from mrigan.text import printable

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

SHOWN = {"auc": "AUC", "balanced_accuracy": "bal. accuracy", "tpr": "TPR", "tnr": "TNR", "coverage": "coverage"}


def headline(metrics: Mapping[str, Any]) -> Table:
    """A Rich table of a metrics.json: a column a model and split; figures of videos, and the AUC of faces."""
    from rich.box import SIMPLE
    from rich.table import Column, Table

    results = metrics["results"]
    names = [_lines(result["model"], result["split"]) for result in results]
    table = Table("", *(Column(name, justify="right", overflow="fold") for name in names), box=SIMPLE)
    table.add_row("videos", *(str(result["video"]["n"]) for result in results))
    for key, name in SHOWN.items():
        table.add_row(name, *(_digits(result["video"][key]) for result in results))
    table.add_row("AUC of faces", *(_digits(result["frame"]["auc"]) for result in results))
    return table


def training_lines(training: Iterable[tuple[str, Mapping[str, str]]]) -> list[tuple[bool, str]]:
    """Whether it is a warning, and a line: what each model's training has to do with what it was scored on.

    Args:
        training: models, and what metrics.json says of them.
    """
    return [
        (about["state"] in ("trained", "chosen", "shared"), f"{model} {about['says']}.") for model, about in training
    ]


def data_set_tables(metrics: Mapping[str, Any]) -> list[Table]:
    """A Rich table a split of which the scores come from several data sets: a column a model; of each data set the
    figures of videos, with 95 % intervals where there are."""
    from rich.box import SIMPLE
    from rich.table import Column, Table

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
            columns = (_lines(*(_with_interval(of, key) for key in MEASURES)) for of in row["models"])
            table.add_row(name, _lines(*MEASURES.values()), *columns)
            table.add_section()
        tables.append(table)
    return tables


def _lines(*lines: str) -> Text:
    """A cell of several lines."""
    from rich.text import Text

    return Text("\n".join(map(printable, lines)))


def _with_interval(row: Mapping[str, Any] | None, key: str) -> str:
    if row is None:
        return "–"
    interval = row["intervals"]["video"].get(key)
    spread = f"  {interval[0]:.2f}–{interval[1]:.2f}" if interval and row["video"][key] is not None else ""
    return _digits(row["video"][key]) + spread


def _digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
