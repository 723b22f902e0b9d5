"""The few figures that a terminal shows when an evaluation ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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


def _digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
