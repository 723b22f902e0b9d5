"""An evaluation in MLflow: a run a model and split, so that they stand beside each other in a table of runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mrigan.config import TrackingConfig
from mrigan.data import ShardSet
from mrigan.models.bundle import Bundle
from mrigan.scoring.linear_probe import probe_name
from mrigan.tracking import Run

REPORT = ("index.html", "metrics.json")
ACROSS = (("originals", "all"), ("originals", "macro"), ("cross_auc", "within"), ("cross_auc", "across"))
PATIENCE = 5.0  # seconds for a store that fails: the report is there without it


def track_evaluation(
    metrics: Mapping[str, Any], bundles: Mapping[str, Bundle], shards: ShardSet, out: Path, config: TrackingConfig
) -> None:
    """Log a run for each model of a finished report. If MLflow cannot be used, this is said and nothing else happens.

    A run has the figures as `frame/auc`, `video/balanced_accuracy`, `threshold/frame`, …; model, split and the source
    of the thresholds as params; the run that trained the model, and on which data, as tags; the shards as its data set;
    the page and metrics.json.

    Args:
        metrics: what `mrigan.evaluation.evaluate` returns; its models are the keys of `bundles`.
        out: the report's folder.
    """
    probes = {(r["model"], r["split"]): r["video"]["auc"] for r in metrics["results"] if r["model"] not in bundles}
    for result in metrics["results"]:
        name, split = result["model"], result["split"]
        if name not in bundles:  # a linear probe
            continue
        bundle = bundles[name]
        provenance = bundle.card.provenance
        tags = {
            "kind": "evaluation",
            "data_hash": shards.hash,
            "model_run_id": provenance.get("mlflow_run_id") or "",
            "model_data_hash": provenance.get("data_hash") or "",
        }
        thresholds = result["thresholds"]
        params = {"model": name, "input": bundle.input, "split": split, "thresholds": thresholds["source"]}
        with _start(config, f"evaluate {name} on {split}", params, tags) as run:
            run.log_dataset(shards.folders, split, shards.hash, "evaluation", shards.counts())
            run.log_metrics({f"threshold/{key}": thresholds[key] for key in ("frame", "fraction")}, step=0)
            run.log_metrics({f"{level}/{key}": value for level in ("frame", "video")
                             for key, value in _numbers(result[level])}, step=0)  # fmt: skip
            run.log_metrics({f"{part}/{row}/{key}": value for part, row in ACROSS
                             for key, value in _numbers((result[part] or {}).get(row) or {})}, step=0)  # fmt: skip
            run.log_metrics(dict(_numbers({"linear_probe/auc": probes.get((probe_name(name), split))})), step=0)
            for file in REPORT:
                run.log_artifact(out / file)


def track_report(
    kind: str,
    names: Sequence[str],
    split: str,
    shards: Sequence[Path],
    *,
    files: Sequence[Path],
    config: TrackingConfig,
) -> None:
    """Log one run for a report that compares several models, with its files; `kind` is "robustness" or "gan-report"."""
    opened = ShardSet.open(list(shards), split, "any")
    params, tags = {"models": list(names), "split": split}, {"kind": kind, "data_hash": opened.hash}
    with _start(config, f"{kind} of {', '.join(names)} on {split}", params, tags) as run:
        run.log_dataset(opened.folders, split, opened.hash, "evaluation", opened.counts())
        for file in files:
            run.log_artifact(file)


def track_false_alarms(result: Mapping[str, Any], paths: Sequence[str], out: Path, config: TrackingConfig) -> None:
    """Log one run for the false alarms of a model.

    Args:
        result: see `mrigan.evaluation.false_alarms.measure_false_alarms`. paths: of the reals.
        out: the report's folder.
    """
    params = {"model": result["model"], "reals": list(paths), **{f"max {k}": v for k, v in result["limits"].items()}}
    with _start(config, f"false alarms of {result['model']}", params, {"kind": "false-alarms"}) as run:
        total = result["total"]
        run.log_metrics({f"reals/{name}": share for name, share in total["shares"].items()}, step=0)
        run.log_metrics({"reals/videos": total["videos"]}, step=0)
        for file in ("false-alarms.html", "false-alarms.json"):
            run.log_artifact(out / file)


def _start(config: TrackingConfig, name: str, params: Mapping[str, Any], tags: Mapping[str, Any]) -> Run:
    own = TrackingConfig(config.enabled, config.uri, config.experiment, on_failure="off", patience=PATIENCE)
    return Run.start(own, name, params=params, tags=tags)


def _numbers(figures: Mapping[str, Any]) -> Sequence[tuple[str, float]]:
    """The figures that are defined."""
    return [
        (key, float(value))
        for key, value in figures.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    ]
