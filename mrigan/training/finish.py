"""What a detector run ends with: thresholds searched on validation, the model folder, the registry."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mrigan.config import FacesConfig, TrackingConfig, from_dict, to_dict
from mrigan.errors import ConfigError, ShardError
from mrigan.evaluation import search_thresholds
from mrigan.evaluation.chance import skill
from mrigan.evaluation.scores import write_scores
from mrigan.models import save_bundle
from mrigan.shardset.layout import Layout
from mrigan.shardset.manifest import read_manifest
from mrigan.shardset.plan_file import read_plan_json
from mrigan.training.doubt import learn_to_doubt
from mrigan.training.job import Job
from mrigan.training.learned import learned_data
from mrigan.training.scoring import scores_table
from mrigan.training.validation import Validation

log = logging.getLogger(__name__)


def finish_detector(job: Job, validation: Validation) -> None:
    """Take the best checkpoint, score all held-out faces with it, and write `model/`. Every rank must call it."""
    step = job.run.world.on_main(lambda: job.run.store.load_best().step)
    validation.bundle.detector.load_state_dict(job.run.store.load(step, verify=False).tensors("detector"))
    logits = validation.logits(np.arange(len(job.data.val)))

    def write() -> None:
        scores = scores_table(job.data.val, logits, job.run.folder.path.resolve().name)
        write_scores(scores, job.run.folder.path / "scores-val.parquet")
        _write_model(job, validation, scores, step)

    job.run.world.on_main(write)


def _write_model(job: Job, validation: Validation, scores: pa.Table, step: int) -> None:
    thresholds = search_thresholds(scores)
    provenance = {**job.provenance, "step": step, "thresholds": thresholds}
    bundle = validation.bundle
    doubt = learn_to_doubt(bundle, job.data.train, job.data.val, scores, workers=job.config.data.workers)
    save_bundle(
        job.run.folder.model,
        bundle.detector,
        bundle.input,
        bundle.generator,
        faces=to_dict(bundle.faces),
        thresholds={name: thresholds[name] for name in ("frame", "fraction")},
        provenance=provenance,
        familiarity=doubt.familiarity,
        known=doubt.known,
        doubt=doubt.told,
        data=learned_data(job.data.train, job.data.val, job.config.data.about),
    )
    log.info(
        "%s is of step %d; thresholds: a face is fake above %.3g, a video from %.3g of its faces on",
        job.run.folder.model, step, thresholds["frame"], thresholds["fraction"],
    )  # fmt: skip
    job.run.journal.tracking.log_artifact(job.run.folder.path / "scores-val.parquet")
    if job.run.journal.tracking.active and may_be_registered(job.config.tracking, scores, job.run.folder.path):
        tags = {"data_hash": job.data.train.hash, "step": step}
        job.run.journal.tracking.register(job.run.folder.model, f"mrigan-{job.config.data.input}", tags)


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


def face_settings(folders: Sequence[str | Path]) -> dict[str, Any]:
    """How the faces of the shards were found and cut (a `FacesConfig` as a dict), which a model must repeat.

    Raises:
        ShardError: a folder without a readable plan.
        ConfigError: folders whose faces were cut differently.
    """
    found = [_settings_of(Path(folder)) for folder in folders]
    for folder, settings in zip(folders, found, strict=True):
        if settings != found[0]:
            raise ConfigError(
                f"faces of {folder} and of {folders[0]} were cut by different settings",
                where="data.shards",
                fix="build both with the same faces.* settings",
            )
    return found[0] if found else to_dict(FacesConfig())


def _settings_of(folder: Path) -> dict[str, Any]:
    layout = Layout(folder)
    about, plan_hash = read_plan_json(layout), read_manifest(layout).get("plan_hash")
    if about.get("plan_hash", plan_hash) != plan_hash:
        raise ShardError(
            "plan.json and manifest.json are of two sets", where=folder, fix=f"mrigan shards verify {folder}"
        )
    try:
        return to_dict(from_dict(FacesConfig, about["config"]["faces"]))
    except (KeyError, TypeError, ConfigError) as error:
        raise ShardError(
            f"the plan of the shards cannot be read: {error!r}",
            where=layout.plan,
            fix=f"build the set: mrigan shards build {folder}",
        ) from None
