"""What a detector run ends with: thresholds searched on validation, the model folder, the registry."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mrigan.config import TrackingConfig, to_dict
from mrigan.data import ShardSet
from mrigan.evaluation import search_thresholds
from mrigan.evaluation.chance import skill
from mrigan.evaluation.scores import write_scores
from mrigan.models import save_bundle
from mrigan.models.bundle import read_card
from mrigan.scoring.limits import fit_reliability
from mrigan.scoring.shards import scores_table
from mrigan.training.job import Job
from mrigan.training.validation import Validation
from mrigan.weights import halved

log = logging.getLogger(__name__)


def finish_detector(job: Job, validation: Validation) -> None:
    """Take the best checkpoint, score all held-out faces with it, and write `model/`. Every rank must call it."""
    step = job.run.world.on_main(lambda: job.run.store.load_best().step)
    name = "detector_ema" if job.state.averages else "detector"
    weights = job.run.store.load(step, verify=False).tensors(name)
    # load_state_dict widens them again: what is measured is what is stored
    validation.bundle.detector.load_state_dict(halved(weights) if job.config.model.half else weights)
    logits, _ = validation.scores(np.arange(len(job.data.val)))

    def write() -> None:
        scores = scores_table(job.data.val, logits, job.run.folder.path.resolve().name)
        write_scores(scores, job.run.folder.path / "scores-val.parquet")
        _write_model(job, validation, scores, step)

    job.run.world.on_main(write)


def _write_model(job: Job, validation: Validation, scores: pa.Table, step: int) -> None:
    thresholds = search_thresholds(scores)
    provenance = {**job.provenance, "step": step, "thresholds": thresholds}
    bundle = validation.bundle
    data = job.config.data
    reliability = fit_reliability(
        bundle, job.data.train, job.data.val, scores, workers=data.workers, on_bad=data.on_bad
    )
    save_bundle(
        job.run.folder.model,
        bundle.detector,
        bundle.input,
        bundle.generator,
        faces=to_dict(bundle.faces),
        thresholds={name: thresholds[name] for name in ("frame", "fraction")},
        provenance=provenance,
        familiarity=reliability.familiarity,
        known=reliability.known,
        doubt=reliability.fitted.to_json(),
        data=learned_data(job.data.train, job.data.val, job.config.data.about),
        half=job.config.model.half,
    )
    log.info(
        "%s is of step %d; thresholds: a face is fake above %.3g, a video from %.3g of its faces on",
        job.run.folder.model, step, thresholds["frame"], thresholds["fraction"],
    )  # fmt: skip
    shown = {f"threshold/{name}": thresholds[name] for name in ("frame", "fraction", "balanced_accuracy")}
    job.run.tracking.log_metrics(shown, job.state.step)
    job.run.tracking.log_artifact(job.run.folder.path / "scores-val.parquet")
    if job.run.tracking.active and may_be_registered(job.config.tracking, scores, job.run.folder.path):
        tags = {"data_hash": job.data.train.hash, "step": step}
        name = read_card(job.run.folder.model).registered_name
        job.run.tracking.register(job.run.folder.model, name, tags)


def may_be_registered(config: TrackingConfig, scores: pa.Table, run: Path) -> bool:
    """Whether the registry is to have a detector with these validation scores; says so where it is not."""
    if not config.register or config.register_anyway:
        return config.register or config.register_anyway
    found = skill(scores)
    if not found.better:
        log.warning(
            "not registered: on validation this detector is not shown to be better than chance: %s. The model is kept "
            "in %s. To register it all the same: mrigan models register %s (or train with --register)",
            found.why, run / "model", run)  # fmt: skip
    return found.better


def learned_data(train: ShardSet, held_out: ShardSet, about: str = "") -> dict[str, Any]:
    """JSON values for model.json's `data`.

    Args:
        about: in words, from `data.about` of the config.

    Returns:
        `about`; `datasets`, the names in the shards; `training` and `validation`: `families`, `real` and `fake`
        (videos), `faces`.
    """
    names = sorted({str(name) for shards in (train, held_out) for name in shards.rows["dataset"].unique().to_pylist()})
    return {"about": about, "datasets": names, "training": _counts(train), "validation": _counts(held_out)}


def _counts(shards: ShardSet) -> dict[str, int]:
    clips = np.array(shards.rows["clip"].to_pylist())
    families = shards.rows["family"].to_pylist()
    fake = shards.labels > 0
    return {
        "families": len({family or clip for family, clip in zip(families, clips, strict=True)}),
        "real": len(set(clips[~fake])),
        "fake": len(set(clips[fake])),
        "faces": len(shards),
    }
