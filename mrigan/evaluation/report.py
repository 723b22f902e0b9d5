"""The report of an evaluation: scores.parquet, metrics.json, figures as PNG, and a self-contained page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from mrigan.errors import ConfigError, InputError
from mrigan.evaluation.comparison import compare
from mrigan.evaluation.figures import confusion_figure, draw, histogram_figure, roc_figure
from mrigan.evaluation.figures_calibration import grid_figure, reliability_figure
from mrigan.evaluation.figures_cross import cross_auc_figure
from mrigan.evaluation.page import render
from mrigan.evaluation.results import Result, Thresholds, choose_thresholds, measure
from mrigan.evaluation.scores import check_scores, read_scores, write_scores
from mrigan.evaluation.tables import write_tables
from mrigan.files import atomic_write, write_json, write_text

FIGURES = {
    "roc": roc_figure,
    "scores": histogram_figure,
    "confusion": confusion_figure,
    "reliability": reliability_figure,
    "thresholds": grid_figure,  # if any model has validation scores
    "cross-auc": cross_auc_figure,  # if there are several data sets
}

UNKNOWN = {"state": "unknown", "says": "does not say what it was trained on"}
Training = Mapping[str, Mapping[str, Mapping[str, str]]]  # by model and split


def evaluate(
    scores: pa.Table,
    thresholds: Thresholds | Mapping[str, Thresholds] | None,
    out: str | Path,
    *,
    validation_scores: pa.Table | None = None,
    left_out: Mapping[str, int] | None = None,
    training: Training | None = None,
) -> dict[str, Any]:
    """Compute the metrics of one or several models from a scores table, and write the report into `out`.

    Args:
        scores: a scores table (see `mrigan.evaluation.schema`); the column `model` names the model.
        thresholds: `{"frame": …, "fraction": …}` for all models, or a dict of them by model. A model without thresholds
            gets the best ones on its validation scores, or .5 and .5 without validation scores.
        out: folder for scores.parquet, metrics.json (written last), index.html, figures/*.png and tables/SPLIT/*.csv;
            each file is written atomically.
        validation_scores: scores to search thresholds on; by default the validation rows of `scores`.
        left_out: by reason, the number of videos that are not in the shards (unchanged or misaligned fakes).
        training: by model and split, whether the model was trained on the split: `{"state": …, "says": …}`.

    Returns:
        The content of metrics.json: `{"schema_version": 1, "left_out": {reason: videos}, "results": [{model, split,
        thresholds, frame, video, groups, originals, cross_auc, persons, intervals, strategies, training}],
        "comparisons": [see `compare`]}`.

    Raises:
        InputError: a table is wrong, or validation scores are test scores.
        ConfigError: a threshold outside 0..1.
    """
    out = Path(out)
    scores = check_scores(scores)
    if validation_scores is not None:
        validation_scores = check_scores(validation_scores, where="validation scores")
    results = measure(scores, choose_thresholds(scores, thresholds, validation_scores), validation_scores)
    by_split: dict[str, list[Result]] = {}
    for result in results:
        by_split.setdefault(result.split, []).append(result)
    left_out = dict(left_out or {})
    figures_of = {split: _figures(of_split) for split, of_split in by_split.items()}
    comparisons = [pair for of_split in by_split.values() for pair in compare(of_split)]
    svgs = {split: {name: svg for name, (_, svg) in figures.items()} for split, figures in figures_of.items()}
    about: dict[str, dict[str, Mapping[str, str]]] = {}
    for result in results:
        by_model = (training or {}).get(result.model, {})
        about.setdefault(result.model, {})[result.split] = by_model.get(result.split, UNKNOWN)
    page = render(by_split, svgs, left_out, comparisons, about)
    metrics = {
        "schema_version": 1,
        "left_out": left_out,
        "results": [result.to_dict() | {"training": about[result.model][result.split]} for result in results],
        "comparisons": comparisons,
    }
    if not _holds(out / "scores.parquet", scores):
        write_scores(scores, out / "scores.parquet")
    for split, figures in figures_of.items():
        for name, (png, _) in figures.items():
            with atomic_write(out / "figures" / f"{_file_name(split)}-{name}.png") as file:
                file.write(png)
        write_tables(out / "tables" / _file_name(split), by_split[split])
    write_text(out / "index.html", page)
    write_json(out / "metrics.json", metrics)
    return metrics


def _figures(results: Sequence[Result]) -> dict[str, tuple[bytes, str]]:
    """PNG and SVG of each figure that can be drawn."""
    empty = {
        "thresholds": all(result.grid is None for result in results),
        "cross-auc": all(result.cross_auc is None for result in results),
    }
    return {name: draw(partial(figure, results)) for name, figure in FIGURES.items() if not empty.get(name, False)}


def evaluate_files(
    files: Sequence[str | Path], out: str | Path, thresholds: Thresholds | None = None
) -> dict[str, Any]:
    """Make the report again from score files.

    Args:
        thresholds: by default those in the metrics.json beside a score file; without that file, see `evaluate`.

    Raises:
        ConfigError: the report would overwrite one of the files.
    """
    scores = read_scores(files)
    target = Path(out) / "scores.parquet"
    if target.resolve() in {Path(file).resolve() for file in files} and not _holds(target, scores):
        raise ConfigError("the report would overwrite its own input", where=target, fix="choose another folder with -o")
    earlier: dict[str, Thresholds] = {}
    left_out: Counter[str] = Counter()
    training: dict[str, dict[str, Mapping[str, str]]] = {}
    for folder in dict.fromkeys(Path(file).resolve().parent for file in files):
        of_models, counts, trained = _read_metrics(folder / "metrics.json")
        earlier |= of_models
        left_out.update(counts)
        for model, splits in trained.items():
            training.setdefault(model, {}).update(splits)
    return evaluate(scores, thresholds or earlier or None, out, left_out=left_out, training=training)


def _read_metrics(path: Path) -> tuple[dict[str, Thresholds], dict[str, int], dict[str, dict[str, Mapping[str, str]]]]:
    """`thresholds` by model, `left_out` and `training` of a metrics.json; empty without that file."""
    if not path.is_file():
        return {}, {}, {}
    try:
        content = json.loads(path.read_text())
        training: dict[str, dict[str, Mapping[str, str]]] = {}
        for r in content["results"]:
            if r.get("training"):
                says = {key: str(r["training"][key]) for key in ("state", "says")}
                training.setdefault(r["model"], {})[r["split"]] = says
        thresholds: dict[str, Thresholds] = {r["model"]: dict(r["thresholds"]) for r in content["results"]}
        return thresholds, dict(content["left_out"]), training
    except (ValueError, KeyError, TypeError) as error:
        fix = "remove it, or give --thresholds FRAME,FRACTION"
        raise InputError(f"not a metrics.json of `mrigan evaluate`: {error}", where=path, fix=fix) from None


def _holds(path: Path, scores: pa.Table) -> bool:
    """Whether a file has exactly these rows in this order."""
    if not path.is_file():
        return False
    try:
        return read_scores(path).equals(scores)
    except InputError:
        return False


def _file_name(split: str) -> str:
    """A split's name as part of a file name."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in split) or "all"
