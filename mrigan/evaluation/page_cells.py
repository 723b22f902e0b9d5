"""Cells and rows of the tables on the evaluation page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

RISING, FALLING = 1, -1  # higher, or lower, is better
Cell = dict[str, Any]


def cell(value: float | None, interval: Sequence[float] | None = None, reason: str = "") -> Cell:
    """A value with its interval in small numbers; `reason` is why it is undefined."""
    small = "–".join(_short(v) for v in interval) if interval and value is not None else ""
    return {"text": digits(value), "interval": small, "reason": reason, "best": False}


def metric_cell(metrics: Mapping[str, Any], key: str, intervals: Mapping[str, Sequence[float]] | None = None) -> Cell:
    """The cell of one of the metrics, which have their reasons in `undefined`."""
    return cell(metrics[key], (intervals or {}).get(key), metrics["undefined"].get(key, ""))


def text_row(name: str, texts: Sequence[str]) -> dict[str, Any]:
    """A row of texts."""
    return {"name": name, "cells": [{"text": text, "interval": "", "reason": "", "best": False} for text in texts]}


def marked_row(name: str, cells: list[Cell], values: Sequence[float | None], better: int) -> dict[str, Any]:
    """A row in which the best cells are marked, unless all are equal.

    Args:
        values: of the cells, in their order; None = cannot be the best.
    """
    defined = [value for value in values if value is not None]
    if defined and sum(one["text"] != digits(None) for one in cells) > 1:
        best = digits(max(defined) if better == RISING else min(defined))
        winners = [one for one, value in zip(cells, values, strict=True) if value is not None and one["text"] == best]
        for one in winners if len(winners) < len(cells) else []:
            one["best"] = True
    return {"name": f"{name} ↓" if better == FALLING else name, "cells": cells}


def digits(value: float | None) -> str:
    """Three decimals, or a dash."""
    return "–" if value is None else f"{value:.3f}"


def _short(value: float) -> str:
    return f"{value:.2f}".removeprefix("0") if value < 1 else f"{value:.2f}"
