"""The report of false alarms: a page, a table, and a line for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from rich.box import SIMPLE
from rich.table import Column, Table

from mrigan.evaluation.csv_text import csv_text
from mrigan.evaluation.false_alarms import SHARES
from mrigan.evaluation.figures import DASHES, FAKE, LINE, MUTED, draw
from mrigan.evaluation.page import templates
from mrigan.evaluation.rates import words
from mrigan.files import write_json, write_text
from mrigan.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE, DATA, TABLE = "false-alarms.html", "false-alarms.json", "false-alarms.csv"
MAX_LISTED = 20  # reals called fake, on the page
NAMES = {"fake": "Called fake", "undecided": "Undecided"}


def write_false_alarms(results: Sequence[Mapping[str, Any]], about: Mapping[str, Sequence[str]], out: Path) -> None:
    """Write false-alarms.html, .csv and, last, .json into `out`.

    Args:
        results: of `measure_false_alarms`, one a model. about: by model, lines on how its verdicts were reached.
    """
    _, svg = draw(lambda: false_alarms_figure(results))
    page = templates().get_template("false_alarms.html").render(
        results=results,
        rows={result["model"]: [_cells(row) for row in _rows(result)] for result in results},
        about=about,
        figure=Markup(svg),
        verdict_lines={result["model"]: gate_line(result) for result in results},
        listed=MAX_LISTED,
    )  # fmt: skip
    header = ["model", "source", "videos", "unreadable", "trials"]
    header += [
        name for verdict in SHARES for name in (verdict, f"{verdict} share", f"{verdict} low", f"{verdict} high")
    ]
    lines = [
        [result["model"], *(row[key] for key in header[1:5]),
         *(value for v in SHARES for value in (row[v], row["shares"][v], *row["intervals"][v]))]
        for result in results for row in _rows(result)
    ]  # fmt: skip
    write_text(out / TABLE, csv_text([header, *lines]))
    write_text(out / PAGE, page)
    write_json(out / DATA, {"schema_version": 1, "results": list(results)})


def gate_line(result: Mapping[str, Any]) -> str:
    """`passed: 2 of 40 called fake, 95 %: 1 to 17 % (at most 10 % may be)`, or `failed: …`; empty without a limit."""
    if result["passed"] is None:
        return ""
    if result["failures"]:
        return f"failed: {'; '.join(result['failures'])}"
    total = result["total"]
    passed = [
        f"{words(total[verdict], total['videos'], SHARES[verdict], total['trials'])}; at most {100 * limit:g} % may be"
        for verdict, limit in result["limits"].items()
    ]
    return f"passed: {'; '.join(passed)}"


def false_alarm_table(result: Mapping[str, Any]) -> Table:
    """A Rich table of one model: a row per source, then all reals."""
    table = Table(
        Column("source", overflow="fold"),
        *(Column(name, justify="right") for name in ("reals", *SHARES.values())),
        box=SIMPLE,
    )
    for row in _rows(result):
        table.add_row(printable(row["source"]), f"{row['videos']:,}", *(_words(row, verdict) for verdict in SHARES))
    return table


def false_alarms_figure(results: Sequence[Mapping[str, Any]]) -> Figure:
    """The share of each source with its interval, a panel per verdict and model; dashed: the limit."""
    from matplotlib.figure import Figure

    rows = [_rows(result) for result in results]
    figure = Figure(figsize=(8.4, sum(0.8 + 0.3 * len(some) for some in rows)), layout="constrained")
    panels = figure.subplots(
        len(results), 2, squeeze=False, sharex=True, height_ratios=[len(some) + 2 for some in rows]
    )
    for line, result, some in zip(panels, results, rows, strict=True):
        for axes, (verdict, color) in zip(line, {"fake": FAKE, "undecided": MUTED}.items(), strict=True):
            for y, row in enumerate(some):
                low, high = (100 * end for end in row["intervals"][verdict])
                axes.plot([low, high], [y, y], color=color, linewidth=1.6, alpha=0.6)
                if row["videos"]:
                    axes.plot(100 * row["shares"][verdict], y, "o", color=color, markersize=5, clip_on=False)
            if verdict in result["limits"]:
                axes.axvline(100 * result["limits"][verdict], color=MUTED, linewidth=1, linestyle=DASHES[2])
            axes.set(xlim=(0, 100), ylim=(len(some) - 0.5, -0.5), title=f"{NAMES[verdict]}: {result['model']}")
            axes.set_yticks(range(len(some)), [row["source"] for row in some] if verdict == "fake" else [])
            axes.tick_params(axis="y", length=0)
            axes.grid(color=LINE, linewidth=0.5, alpha=0.7, axis="x")
            axes.set_xlabel("% of the reals")
    return figure


def _rows(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*result["sources"], *([result["total"]] if len(result["sources"]) > 1 else [])]


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **row,
        "cells": [_words(row, verdict).split(" ", 1) for verdict in SHARES],
        "why": ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in row["reasons"].items()),
    }


def _words(row: Mapping[str, Any], verdict: str) -> str:
    """`3 (5 %, 1–14)`: the count, the share, and its interval in percent."""
    if not row["videos"]:
        return "–"
    low, high = row["intervals"][verdict]
    return f"{row[verdict]} ({100 * row['shares'][verdict]:.0f} %, {100 * low:.0f}–{100 * high:.0f})"
