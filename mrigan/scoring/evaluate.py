"""Models and shards in, a report out: scores each model on one split, then hands the scores to `mrigan.evaluation`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from mrigan.config import TrackingConfig
from mrigan.data import ShardSet, check_separate
from mrigan.errors import ConfigError
from mrigan.evaluation import evaluate
from mrigan.evaluation.schema import VIDEO
from mrigan.models.bundle import Bundle, load_bundle
from mrigan.scoring.face_settings import face_settings
from mrigan.scoring.linear_probe import THRESHOLDS, probe_name, score_probe
from mrigan.scoring.options import ScoringOptions
from mrigan.scoring.runs import track_evaluation
from mrigan.scoring.shards import score_shards
from mrigan.scoring.trained_on import trained_on
from mrigan.shardset.layout import Layout
from mrigan.shardset.rows import select_rows
from mrigan.text import shortened
from mrigan.tracking import resolve

log = logging.getLogger(__name__)
CUT_KEYS = ("margin", "crop", "size", "resize", "align", "cropped")  # settings that change what a face looks like


def evaluate_models(
    models: Sequence[str | Path],
    shards: Sequence[str | Path],
    out: str | Path,
    options: ScoringOptions = ScoringOptions(),  # noqa: B008 (frozen)
    *,
    thresholds: Mapping[str, Any] | None = None,
    tracking: TrackingConfig | None = None,
    linear_probe: bool = False,
) -> dict[str, Any]:
    """Score one or several models on a split of shard folders, and write the report (see `mrigan.evaluation.evaluate`).

    Args:
        models: model folders, or registry references such as `models:/mrigan-face@champion`.
        shards: finished shard folders.
        out: the report's folder.
        thresholds: `{"frame": …, "fraction": …}` in place of each model's own.
        tracking: where MLflow gets a run a model; None = nowhere.
        linear_probe: also score a linear probe on each model's encoder; in the report it is a model of its own.

    Returns:
        What metrics.json holds.

    Raises:
        ConfigError: one model is given twice.
        ModelError, ShardError: a model or a shard folder cannot be used, or the folders' splits are not separate.
    """
    names = model_names(models)
    bundles = {name: load_bundle(resolve(model)) for name, model in zip(names, models, strict=True)}
    opened = ShardSet.open(list(shards), options.split, "any")
    check_separate(opened.folders)
    for name, bundle in bundles.items():
        _warn_of_other_faces(name, bundle, opened.folders)
    how: dict[str, Any] = {"batch_size": options.batch_size, "workers": options.workers, "device": options.device}
    scored = [score_shards(bundle, opened, model=name, **how) for name, bundle in bundles.items()]
    own = {name: own_thresholds(bundle) for name, bundle in bundles.items()}
    absent = left_out(opened.folders, options.split, scored[0])
    known = {name: trained_on(bundle.card.provenance, opened) for name, bundle in bundles.items()}
    training = {name: {options.split: says} for name, says in known.items()}
    if linear_probe:
        for name, bundle in bundles.items():
            table, about = score_probe(bundle, opened, name, options)
            scored.append(table)
            own[probe_name(name)] = dict(THRESHOLDS)
            training[probe_name(name)] = {options.split: {"state": "probe", "says": about}}
    metrics = evaluate(pa.concat_tables(scored), thresholds or own, out, left_out=absent, training=training)
    if tracking is not None:
        track_evaluation(metrics, bundles, opened, Path(out), tracking)
    return metrics


def left_out(folders: Sequence[Path], split: str, scores: pa.Table) -> dict[str, int]:
    """Videos of a split that the shards name but that are not in `scores`, counted by reason."""
    known = _videos(scores)
    reasons: dict[tuple[str, ...], str] = {}
    for folder in folders:
        columns = [*VIDEO, "reason"]
        rows = select_rows(Layout(folder).samples, columns, splits=[split])
        for video, reason in zip(_rows(rows), rows["reason"].to_pylist(), strict=True):
            if video not in known:
                reasons.setdefault(video, str(reason).split(":")[0].replace("_", " "))
    return dict(sorted(Counter(reasons.values()).items()))


def _videos(table: pa.Table) -> set[tuple[str, ...]]:
    return set(_rows(table))


def _rows(table: pa.Table) -> list[tuple[str, ...]]:
    return list(zip(*(table[name].to_pylist() for name in VIDEO), strict=True))


def model_names(models: Sequence[str | Path]) -> list[str]:
    """A short name a model: its registry reference, or its run's folder."""
    if len(set(map(str, models))) < len(models):
        raise ConfigError("one model is given twice", where=", ".join(map(str, models)))
    names = []
    for model in models:
        text = str(model).removeprefix("models:/")
        folder = Path(text)
        if text == str(model):
            text = folder.resolve().parent.name if folder.name == "model" else folder.resolve().name
        names.append(text)
    return names if len(set(names)) == len(names) else [str(model) for model in models]


def own_thresholds(bundle: Bundle) -> dict[str, Any]:
    """The thresholds that travel with a model, and what its provenance says of them."""
    searched = bundle.card.provenance.get("thresholds")
    source = searched.get("source") if searched else None
    return {**bundle.thresholds, "source": f"the model's own, {shortened(source)}" if source else "the model's own"}


def _warn_of_other_faces(name: str, bundle: Bundle, folders: Sequence[Path]) -> None:
    for folder in folders:
        faces = face_settings([str(folder)])
        for key in CUT_KEYS:
            here, trained = faces[key], getattr(bundle.faces, key)
            if here != trained:
                log.warning("%s was trained on faces with %s %s; those in %s have %s", name, key, trained, folder, here)
