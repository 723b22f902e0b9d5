"""The few figures that a terminal shows when an evaluation ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mrigan.evaluation.data_sets import SHOWN as MEASURES
from mrigan.evaluation.data_sets import across

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = {"auc": "AUC", "balanced_accuracy": "bal. accuracy", "tpr": "TPR", "tnr": "TNR", "coverage": "coverage"}


def headline(metrics: Mapping[str, Any]) -> Table:
    """A Rich table of a metrics.json: a column a model and split; figures of videos, and the AUC of faces."""
    from rich.box import SIMPLE
    from rich.table import Column, Table
    from rich.text import Text

    results = metrics["results"]
    names = [Text(f"{result['model']}\n{result['split']}") for result in results]
    table = Table("", *(Column(name, justify="right", overflow="fold") for name in names), box=SIMPLE)
    table.add_row("videos", *(str(result["video"]["n"]) for result in results))
    for key, name in SHOWN.items():
        table.add_row(name, *(_digits(result["video"][key]) for result in results))
    table.add_row("AUC of faces", *(_digits(result["frame"]["auc"]) for result in results))
    return table


def data_set_tables(metrics: Mapping[str, Any]) -> list[Table]:
    """A Rich table a split of which the scores come from several data sets: a row a data set, and of each model its
    figures of videos, with 95 % intervals where there are."""
    from rich.box import SIMPLE
    from rich.table import Column, Table
    from rich.text import Text

    tables = []
    for split in dict.fromkeys(result["split"] for result in metrics["results"]):
        results = [result for result in metrics["results"] if result["split"] == split]
        rows = across(results)
        if not rows:
            continue
        columns = [Text(f"{r['model']}\n{name}") for r in results for name in MEASURES.values()]
        numbers = (Column(name, justify="right") for name in columns)
        table = Table(f"data set\n{split}", Column("videos", justify="right"), *numbers, box=SIMPLE)
        for row in rows:
            cells = [_with_interval(of, key) for of in row["models"] for key in MEASURES]
            table.add_row(Text(row["name"]), str(row["real"] + row["fake"]), *cells)
        tables.append(table)
    return tables


def _with_interval(row: Mapping[str, Any] | None, key: str) -> str:
    if row is None:
        return "–"
    interval = row["intervals"]["video"].get(key)
    spread = f"\n{interval[0]:.2f}–{interval[1]:.2f}" if interval and row["video"][key] is not None else ""
    return _digits(row["video"][key]) + spread


def _digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
