"""The robustness report: tables and curves of metrics over the severity of corruptions, computed from scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from markupsafe import Markup

from mrigan.evaluation.csv_text import csv_text
from mrigan.evaluation.figures import DASHES, LINE, MODELS, draw, entries
from mrigan.evaluation.metrics import frame_metrics
from mrigan.evaluation.page import templates
from mrigan.evaluation.schema import CHECKED
from mrigan.evaluation.videos import video_metrics, video_table
from mrigan.files import atomic_write, write_json, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLEAN = "clean"
SCHEMA = pa.schema([*CHECKED, ("corruption", pa.string()), ("severity", pa.int32())])  # severity 0 = clean
Levels = Mapping[str, tuple[Sequence[float], str]]
FIGURES = {"auc": "AUC of videos", "frame_auc": "AUC of faces", "balanced_accuracy": "Balanced accuracy",
           "tpr": "TPR", "tnr": "TNR"}  # fmt: skip
TABLES = {  # of the page, with an explanation
    "auc": "How well the scores still separate fakes from reals, independent of thresholds.",
    "balanced_accuracy": "Of videos, at the model's thresholds. If it falls while the AUC stays, the scores have "
    "shifted: nearly all videos are called real, or fake. TPR and TNR in robustness.csv show which.",
}


def measure_robustness(scores: pa.Table, thresholds: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The metrics of every (model, corruption, severity), the clean faces first.

    Args:
        scores: of `SCHEMA`; the same faces under every corruption. thresholds: `frame` and `fraction` by model.

    Returns:
        `{"model", "corruption", "severity", "faces", "videos", "frame_auc", "auc", "balanced_accuracy", "tpr",
        "tnr"}` each; metrics are None if there is only one class.
    """
    keys = scores.group_by(["model", "corruption", "severity"], use_threads=False).aggregate([]).to_pylist()
    rows = []
    for key in keys:
        chosen = scores
        for name, value in key.items():
            chosen = chosen.filter(pc.equal(chosen[name], value))
        of_model = thresholds[key["model"]]
        frame = frame_metrics(chosen["label"], chosen["prob"], of_model["frame"])
        video = video_metrics(video_table(chosen.select(CHECKED.names), of_model))
        rows.append({**key, "faces": frame["n"], "videos": video["n"], "frame_auc": frame["auc"]}
                    | {name: video[name] for name in ("auc", "balanced_accuracy", "tpr", "tnr")})  # fmt: skip
    order = list(dict.fromkeys(row["corruption"] for row in rows))
    return sorted(rows, key=lambda row: (order.index(row["corruption"]), row["model"], row["severity"]))


def write_robustness(
    scores: pa.Table,
    thresholds: Mapping[str, Mapping[str, Any]],
    levels: Levels,
    out: Path,
) -> list[dict[str, Any]]:
    """Write robustness.parquet, .csv, .json, .png and .html into `out`.

    Args:
        levels: by corruption, its five levels and their unit.
    """
    rows = measure_robustness(scores, thresholds)
    with atomic_write(out / "robustness.parquet") as file:
        pq.write_table(scores, file, compression="zstd")
    png, svg = draw(partial(robustness_figure, rows, levels))
    with atomic_write(out / "robustness.png") as file:
        file.write(png)
    write_text(out / "robustness.csv", csv_text([list(rows[0]), *(list(row.values()) for row in rows)]))
    page = templates().get_template("robustness.html").render(
        figure=Markup(svg), tables=TABLES, kinds={key: _by_kind(rows, levels, key) for key in TABLES},
        models=list(dict.fromkeys(row["model"] for row in rows)),
        videos=rows[0]["videos"], faces=rows[0]["faces"], names=FIGURES,
    )  # fmt: skip
    write_text(out / "robustness.html", page)
    write_json(out / "robustness.json", {"schema_version": 1, "results": rows})
    return rows


def robustness_figure(rows: Sequence[Mapping[str, Any]], levels: Levels) -> Figure:
    """AUC of videos over severity, a panel per corruption, a line per model; severity 0 is the clean face."""
    from matplotlib.figure import Figure

    kinds = [kind for kind in levels if any(row["corruption"] == kind for row in rows)]
    models = list(dict.fromkeys(row["model"] for row in rows))
    columns = min(4, len(kinds))
    lines = -(-len(kinds) // columns)
    figure = Figure(figsize=(8.4, 0.5 + 2.1 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axes in panels.flat[len(kinds) :]:
        axes.set_axis_off()
    for axes, kind in zip(panels.flat, kinds, strict=False):
        axes.axhline(0.5, color=LINE, linewidth=1)
        for number, model in enumerate(models):
            points = [
                r for r in rows if r["model"] == model and r["corruption"] in (CLEAN, kind) and r["auc"] is not None
            ]
            x, y = [r["severity"] for r in points], [r["auc"] for r in points]
            axes.plot(x, y, color=MODELS[number % len(MODELS)], linestyle=DASHES[number % len(DASHES)], linewidth=1.6,
                      marker="o", markersize=3, label=model, clip_on=False)  # fmt: skip
        values, unit = levels[kind]
        axes.set_title(kind)
        axes.set_xticks(range(6), ["–", *(f"{value:g}" for value in values)], fontsize=7)
        axes.set_xlabel(unit, fontsize=8)
        axes.set(xlim=(0, 5), ylim=(min(0.4, *[r["auc"] for r in rows if r["auc"] is not None], 0.5), 1))
        axes.grid(color=LINE, linewidth=0.5, alpha=0.7)
    for axes in panels[:, 0]:
        axes.set_ylabel("AUC of videos")
    panels[0, 0].legend(**entries(panels[0, 0]), loc="lower left", handlelength=2.2)
    return figure


def _by_kind(rows: Sequence[Mapping[str, Any]], levels: Levels, key: str) -> list[dict[str, Any]]:
    """A table of the page: a line per (corruption, model) with the metric `key` at each severity."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    by_key = {(r["model"], r["corruption"], r["severity"]): r for r in rows}
    lines = []
    for kind, (values, unit) in levels.items():
        for model in models:
            cells = [by_key.get((model, CLEAN, 0))] + [by_key.get((model, kind, s)) for s in range(1, 6)]
            figures = [None if cell is None else cell[key] for cell in cells]
            if any(figure is not None for figure in figures[1:]):
                numbers = np.array([np.nan if figure is None else figure for figure in figures])
                fall = float(np.nanmean(numbers[1:]) - numbers[0])
                steps, texts = ", ".join(f"{v:g}" for v in values), ["–" if f is None else f"{f:.3f}" for f in figures]
                lines.append({"kind": kind, "levels": steps, "unit": unit, "model": model, "figures": texts,
                              "fall": f"{fall:+.3f}"})  # fmt: skip
    return lines
