"""All metrics of a scores table: a `Result` per (model, split), with its thresholds and a row per source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mrigan.errors import ConfigError
from mrigan.evaluation.cross_auc import cross_auc
from mrigan.evaluation.data_sets import data_set_rows, of_source
from mrigan.evaluation.intervals import intervals_of
from mrigan.evaluation.metrics import decision_metrics, frame_metrics
from mrigan.evaluation.originals import against_originals
from mrigan.evaluation.schema import faces_only, group_codes
from mrigan.evaluation.strategies import compare_strategies
from mrigan.evaluation.thresholds import Grid, refuse_shared_families, search_thresholds, threshold_grid
from mrigan.evaluation.videos import DEFAULT_THRESHOLDS, video_metrics, video_table

VALIDATION = ("val", "valid", "validation")
Thresholds = Mapping[str, Any]  # frame, fraction, source


@dataclass(frozen=True)
class Result:
    """The metrics of one model on one split."""

    model: str
    split: str
    thresholds: Thresholds
    faces: pa.Table  # scores, without the rows of videos without a face
    videos: pa.Table  # see `video_table`
    frame: dict[str, Any]
    video: dict[str, Any]
    groups: list[dict[str, Any]]
    originals: dict[str, Any] | None  # see `against_originals`
    cross_auc: dict[str, Any] | None  # see `cross_auc`
    data_sets: list[dict[str, Any]]  # see `data_set_rows`
    persons: list[dict[str, Any]]
    intervals: dict[str, Any]  # see `intervals_of`
    strategies: list[dict[str, Any]]  # see `compare_strategies`
    grid: Grid | None  # of its validation scores, if these have both classes

    def to_dict(self) -> dict[str, Any]:
        """The metrics as in metrics.json."""
        names = [field.name for field in fields(self) if field.name not in ("faces", "videos", "grid")]
        grid = {"grid": None if self.grid is None else self.grid.to_dict()}
        return {name: getattr(self, name) for name in names} | grid


def measure(scores: pa.Table, thresholds: Mapping[str, Thresholds], validation: pa.Table | None = None) -> list[Result]:
    """The metrics of every (split, model) of a checked scores table, the test split first.

    Args:
        thresholds: by model.
        validation: scores to find the thresholds of the strategies; by default the validation rows of `scores`.
    """
    validation = validation_rows(scores) if validation is None else validation
    pairs = scores.group_by(["split", "model"], use_threads=False).aggregate([]).to_pylist()
    pairs.sort(key=lambda pair: (pair["split"] != "test", pair["split"], pair["model"]))
    results = []
    for pair in pairs:
        model, split = pair["model"], pair["split"]
        rows = scores.filter(pc.and_(pc.equal(scores["model"], model), pc.equal(scores["split"], split)))
        faces, videos = faces_only(rows), video_table(rows, thresholds[model])
        whole = {
            "frame": frame_metrics(faces["label"], faces["prob"], thresholds[model]["frame"]),
            "video": video_metrics(videos),
            "intervals": intervals_of(faces, videos, thresholds[model]["frame"]),
        }
        results.append(
            Result(
                model=model,
                split=split,
                thresholds=dict(thresholds[model]),
                faces=faces,
                videos=videos,
                frame=whole["frame"],
                video=whole["video"],
                groups=_groups(faces, videos, thresholds[model]["frame"]),
                originals=against_originals(videos),
                cross_auc=cross_auc(videos),
                data_sets=data_set_rows(faces, videos, thresholds[model]["frame"], whole),
                persons=_persons(videos),
                intervals=whole["intervals"],
                strategies=compare_strategies(rows, _of_model(validation, model), thresholds[model]),
                grid=_grid(_of_model(validation, model)),
            )
        )
    return results


def choose_thresholds(
    scores: pa.Table,
    given: Thresholds | Mapping[str, Thresholds] | None = None,
    validation_scores: pa.Table | None = None,
) -> dict[str, dict[str, Any]]:
    """The thresholds of each model: the given ones; else those searched on validation scores; else .5 and .5. `source`
    says which.

    Args:
        scores: a checked scores table.
        given: `{"frame": …, "fraction": …}` for every model, or `{model: {"frame": …, "fraction": …}}`.
        validation_scores: a checked scores table without test rows; by default the validation rows of `scores`.

    Raises:
        ConfigError: a threshold outside 0..1.
    """
    chosen: dict[str, dict[str, Any]] = {}
    for model in sorted(pc.unique(scores["model"]).to_pylist()):
        of_model: Any = given if given and "frame" in given else (given or {}).get(model)
        if of_model:
            chosen[model] = {**of_model, "source": of_model.get("source", "given")}
        else:
            chosen[model] = _searched(model, scores, validation_scores)
        for name in ("frame", "fraction"):
            if not 0 <= chosen[model][name] <= 1:
                raise ConfigError(f"the {name} threshold of {model} is {chosen[model][name]}, not within 0..1")
    return chosen


def validation_rows(scores: pa.Table) -> pa.Table:
    """The rows of the validation split."""
    return scores.filter(pc.is_in(scores["split"], pa.array(VALIDATION)))


def _of_model(scores: pa.Table, model: str) -> pa.Table:
    return scores.filter(pc.equal(scores["model"], model))


def _grid(validation: pa.Table) -> Grid | None:
    grid = threshold_grid(validation) if validation.num_rows else None
    return grid if grid and not grid.reason else None


def _persons(videos: pa.Table) -> list[dict[str, Any]]:
    """The metrics of the videos of each known person (or other group)."""
    named = videos.filter(pc.not_equal(videos["group"], ""))
    codes, first = group_codes(named, ("dataset", "group"))
    label = named["label"].to_numpy().astype(bool)
    verdict = np.array(named["verdict"].to_pylist())
    rows = []
    for code, names in enumerate(named.select(["dataset", "group"]).take(first).to_pylist()):
        y, verdicts = label[codes == code], verdict[codes == code]
        judged = verdicts != "undecided"
        figures, why = decision_metrics(y[judged], verdicts[judged] == "fake")
        right = ((verdicts == "fake") & y) | ((verdicts == "real") & ~y)
        counts = {"n": len(y), "fake": int(y.sum()), "real": int((~y).sum()), "undecided": int((~judged).sum())}
        rates = {name: figures[name] for name in ("tpr", "tnr")}
        undefined = {name: reason for name, reason in why.items() if name in rates}
        rows.append({**names, **counts, **rates, "accuracy_of_all": float(right.mean()), "undefined": undefined})
    return sorted(rows, key=lambda row: (row["dataset"], row["group"]))


def _searched(model: str, scores: pa.Table, validation: pa.Table | None) -> dict[str, Any]:
    validation = _of_model(validation_rows(scores) if validation is None else validation, model)
    if validation.num_rows:
        refuse_shared_families(validation, _of_model(scores, model))
        return search_thresholds(validation)
    return {**DEFAULT_THRESHOLDS, "source": "default: there are no validation scores to search them on"}


def _groups(faces: pa.Table, videos: pa.Table, threshold: float) -> list[dict[str, Any]]:
    """Each kind of fake against the reals of the same data set and compression; reals alone if there are no fakes.

    A detector may learn to recognize the source of a picture instead of a forgery. Only rows within one source show it.
    """
    rows = []
    sources = sorted({(v["dataset"], v["compression"]) for v in videos.select(["dataset", "compression"]).to_pylist()})
    for dataset, compression in sources:
        tables = [of_source(table, dataset, compression) for table in (faces, videos)]
        methods = sorted(pc.unique(tables[1].filter(pc.equal(tables[1]["label"], 1))["method"]).to_pylist())
        subsets = [(method, [_against_reals(table, method) for table in tables]) for method in methods]
        if len(methods) != 1:
            subsets.append(("all" if methods else "original", tables))
        for method, (f, v) in subsets:
            frame, video = frame_metrics(f["label"], f["prob"], threshold), video_metrics(v)
            rows.append(
                {"dataset": dataset, "method": method, "compression": compression, "frame": frame, "video": video}
            )
    return rows


def _against_reals(table: pa.Table, method: str) -> pa.Table:
    """The reals, and the fakes of one method."""
    return table.filter(pc.or_(pc.equal(table["label"], 0), pc.equal(table["method"], method)))
