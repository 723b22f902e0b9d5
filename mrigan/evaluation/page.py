"""The page of an evaluation: models side by side, figures, a table by source, and the videos that went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mrigan.evaluation.results import VALIDATION, Result
from mrigan.evaluation.schema import VIDEO

FEW = 30  # videos of a class; below, a figure moves by several points with one video
WORST = 10  # videos listed
RISING, FALLING = 1, -1  # which value is the better one, when models stand side by side
FIGURES = (
    ("auc", "AUC", RISING),
    ("eer", "EER", FALLING),
    ("ap", "AP", RISING),
    ("log_loss", "Log-loss", FALLING),
    ("balanced_accuracy", "Balanced accuracy", RISING),
    ("accuracy", "Accuracy", RISING),
    ("tpr", "TPR", RISING),
    ("tnr", "TNR", RISING),
    ("fpr", "FPR", FALLING),
    ("fnr", "FNR", FALLING),
    ("precision", "Precision", RISING),
    ("f1", "F1", RISING),
)
OF_VIDEOS = (
    ("fraction_auc", "AUC by fraction", RISING),
    ("accuracy_of_all", "Accuracy of all", RISING),
    ("coverage", "Coverage", RISING),
)


def render(
    by_split: Mapping[str, Sequence[Result]], figures: Mapping[str, Mapping[str, str]], left_out: Mapping[str, int]
) -> str:
    """The page as HTML.

    Args:
        by_split: the results, in the order of the page.
        figures: SVG elements by split and name (`roc`, `scores`, `confusion`).
        left_out: videos that were never put before a model, by reason.
    """
    environment = Environment(
        loader=PackageLoader("mrigan.evaluation", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    sections = [
        {
            "split": split,
            "results": results,
            "warnings": _warnings(results),
            "tables": _tables(results),
            "figures": {name: Markup(svg) for name, svg in figures[split].items()},
            "groups": _groups(results),
            "mistakes": [listing for result in results for listing in _mistakes(result)],
        }
        for split, results in by_split.items()
    ]
    everyone = [result for results in by_split.values() for result in results]
    models = list(dict.fromkeys(result.model for result in everyone))
    return environment.get_template("page.html").render(
        models=models, sections=sections, summary=_summary(by_split, left_out)
    )


def _summary(by_split: Mapping[str, Sequence[Result]], left_out: Mapping[str, int]) -> list[str]:
    lines = []
    for split, results in by_split.items():
        video, faces = results[0].video, results[0].frame["n"]
        sources = sorted(set(results[0].videos["dataset"].to_pylist()))
        lines.append(
            f"{split.capitalize() or 'All'}: {video['n']:,} videos ({video['real']:,} real, {video['fake']:,} fake), "
            f"{faces:,} faces, from {', '.join(sources)}."
        )
    if left_out:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(left_out.items()))
        lines.append(f"Not in here, because the shards leave them out: {reasons}.")
    return lines


def _warnings(results: Sequence[Result]) -> list[str]:
    warnings = []
    few = min(min(r.video["real"], r.video["fake"]) for r in results)
    if few < FEW:
        warnings.append(
            f"Only {few} video{'s' * (few != 1)} of one class: one more or less moves these figures by several points."
        )
    if len({(r.video["n"], r.frame["n"]) for r in results}) > 1:
        warnings.append("The models were not scored on the same faces; their columns are not strictly comparable.")
    for r in results:
        if r.split in VALIDATION and not str(r.thresholds["source"]).startswith(("default", "given")):
            warnings.append(
                f"The thresholds of {r.model} come from validation scores, perhaps these very ones: here its verdicts "
                "look better than they are."
            )
    return warnings


def _tables(results: Sequence[Result]) -> list[dict[str, Any]]:
    videos = [_row(name, [r.video for r in results], key, better) for key, name, better in (*FIGURES, *OF_VIDEOS)]
    silent = [f"{sum(r.video['undecided'].values()):,}" for r in results]
    counts = [f"{r.video['n']:,}" for r in results]
    faces = [_row(name, [r.frame for r in results], key, better) for key, name, better in FIGURES]
    thresholds = [
        _texts("Frame threshold", [f"{r.thresholds['frame']:g}" for r in results]),
        _texts("Fraction", [f"{r.thresholds['fraction']:g}" for r in results]),
        _texts("Where from", [str(r.thresholds["source"]) for r in results]),
    ]
    return [
        {
            "title": "Videos",
            "rows": [*videos, _texts("Without a face", silent), _texts("Videos", counts)],
            "prose": False,
        },
        {"title": "Faces", "rows": [*faces, _texts("Faces", [f"{r.frame['n']:,}" for r in results])], "prose": False},
        {"title": "Thresholds", "rows": thresholds, "prose": True},
    ]


def _row(name: str, metrics: Sequence[Mapping[str, Any]], key: str, better: int) -> dict[str, Any]:
    cells = [_cell(m, key) for m in metrics]
    values = [m[key] for m in metrics if m[key] is not None]
    if len(values) > 1:
        best = _digits(max(values) if better == RISING else min(values))
        winners = [cell for cell in cells if cell["text"] == best]
        for cell in winners if len(winners) < len(cells) else []:
            cell["best"] = True
    return {"name": f"{name} ↓" if better == FALLING else name, "cells": cells}


def _texts(name: str, texts: Sequence[str]) -> dict[str, Any]:
    return {"name": name, "cells": [{"text": text, "reason": "", "best": False} for text in texts]}


def _cell(metrics: Mapping[str, Any], key: str) -> dict[str, Any]:
    reason = metrics["undefined"].get(key, "")
    return {"text": _digits(metrics[key]), "reason": reason, "best": False}


def _digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _groups(results: Sequence[Result]) -> list[dict[str, Any]]:
    rows = []
    for result in results:
        for group in result.groups:
            video, frame = group["video"], group["frame"]
            cells = [
                _cell(video, "coverage"),
                _cell(frame, "auc"),
                *(_cell(video, key) for key in ("auc", "tpr", "tnr")),
            ]
            names = {key: group[key] for key in ("dataset", "method", "compression")}
            rows.append({**names, "model": result.model, "real": video["real"], "fake": video["fake"], "cells": cells})
    order = {name: i for i, name in enumerate(r.model for r in results)}
    return sorted(rows, key=lambda row: (row["dataset"], row["compression"], row["method"], order[row["model"]]))


def _mistakes(result: Result) -> list[dict[str, Any]]:
    """The videos with a wrong verdict, the worst first, and those without one."""
    videos = [_video(row) for row in result.videos.to_pylist()]
    wrong = [v for v in videos if v["verdict"] not in ("undecided", v["truth"])]
    wrong.sort(key=lambda v: -v["wrongness"])
    silent = [v for v in videos if v["verdict"] == "undecided"]
    listings = []
    if wrong:
        note = f"{len(wrong)} wrong verdicts; the {min(len(wrong), WORST)} furthest off by mean probability."
        listings.append({"title": f"{result.model}: what it got most wrong", "note": note, "videos": wrong[:WORST]})
    if silent:
        note = f"{len(silent)} videos got no verdict" + (f"; the first {WORST}." if len(silent) > WORST else ".")
        listings.append({"title": f"{result.model}: no face found", "note": note, "videos": silent[:WORST]})
    return listings


def _video(row: Mapping[str, Any]) -> dict[str, Any]:
    truth = "fake" if row["label"] else "real"
    prob = row["prob"]
    return {
        "video": "/".join(row[key] or "-" for key in VIDEO),
        "truth": truth,
        "verdict": row["verdict"],
        "faces": row["faces"],
        "prob": _digits(prob),
        "fraction": _digits(row["fraction"]),
        "wrongness": 0 if prob is None else abs(row["label"] - prob),
    }
