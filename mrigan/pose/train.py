"""`mrigan train pose`: fit the classifier of head poses to a set's landmarks.

It has no steps, so it is no task of the trainer (`mrigan.training`). The rest is the same: a config, the run folder
with its status and log, a run in MLflow, validation scores, thresholds from them, the model folder.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mrigan.config import to_dict
from mrigan.config.pose import PoseConfig
from mrigan.data import ShardSet, check_separate
from mrigan.data.landmarks import stored_landmarks
from mrigan.errors import ConfigError, MriganError, ShardError
from mrigan.evaluation import frame_metrics, search_thresholds, video_metrics, video_table
from mrigan.evaluation.chance import skill
from mrigan.evaluation.schema import faces_only
from mrigan.evaluation.scores import write_scores
from mrigan.pose.model import features_of, load_pose_model, save_pose_model
from mrigan.pose.points import MESH_OF_68
from mrigan.pose.scores import pose_scores
from mrigan.pose.svm import PoseSvm
from mrigan.tracking import Run, code_version, is_tracked, send
from mrigan.training.finish import learned_data
from mrigan.training.run_folder import RunFolder

log = logging.getLogger(__name__)

TRAIN_SPLIT = "train"
METRICS = ("auc", "eer", "log_loss", "balanced_accuracy")


@dataclass(frozen=True)
class PoseData:
    """The shards of a training.

    Attributes:
        chosen: of `train`, the faces that the classifier is fitted to.
    """

    train: ShardSet
    val: ShardSet
    chosen: ShardSet

    @classmethod
    def open(cls, config: PoseConfig) -> PoseData:
        """Open the splits, and check that they are separate.

        Raises:
            ConfigError, ShardError: nothing has been written.
        """
        if not config.data.shards:
            raise ConfigError("data.shards is empty", fix="give data.shards=DIR, made by `mrigan shards build DIR`")
        train = ShardSet.open(config.data.shards, TRAIN_SPLIT)
        val = ShardSet.open(config.data.shards, config.data.val_split)
        check_separate(train.folders)
        count = min(config.data.faces or len(train), len(train))
        evenly = np.linspace(0, len(train) - 1, count).astype(np.int64)
        return cls(train, val, train.subset(np.unique(evenly)))

    @property
    def depends(self) -> dict[str, Any]:
        """What the model depends on besides the config."""
        return {"kind": "pose", "data_hash": self.train.hash}

    def lines(self, config: PoseConfig) -> list[str]:
        """What a training would do, for a person."""
        return [
            f"fit an SVM to the head poses of {len(self.chosen)} of {len(self.train)} faces ({config.data.points})",
            f"choose thresholds on {len(self.val)} faces of split {config.data.val_split}",
            f"write {config.run.dir}",
        ]


def train_pose(config: PoseConfig, new: bool = False) -> Path:
    """Train, or do nothing if the run in `run.dir` is finished.

    Args:
        new: start a new run; an earlier one is moved aside.

    Returns:
        The model folder.

    Raises:
        ConfigError, ShardError: the data cannot be used.
        CheckpointError: the folder is in use, or its run has other settings.
    """
    data, folder = PoseData.open(config), RunFolder(config.run.dir)
    try:
        folder.open(config, data.depends, new)
        if folder.model.exists() and folder.status().get("state") == "finished":
            load_pose_model(folder.model)
            log.info("%s is finished already", folder.path)
            if is_tracked(folder.path):
                send(folder.path)
            return folder.model
        with _recorded(config, data, folder) as run:
            _fit(config, data, folder, run)
        return folder.model
    finally:
        folder.close()


@contextmanager
def _recorded(config: PoseConfig, data: PoseData, folder: RunFolder) -> Iterator[Run]:
    """Record in `status.json` and in MLflow how the run ended."""
    name, earlier = config.run.name or folder.path.resolve().name, folder.status().get("mlflow_run_id")
    try:
        with Run(folder.path) as run:
            run.rewind(0)
            folder.set_status("running", step=0, error=None)
            run.mirror(config.tracking, name, earlier, params=to_dict(config), tags=data.depends)
            for shards, context in ((data.train, "training"), (data.val, "validation")):
                run.log_dataset(shards.folders, shards.split, shards.hash, context, shards.counts())
            folder.set_status("running", mlflow_run_id=run.id)
            yield run
            folder.set_status("finished", step=1)
    except Exception as error:
        folder.set_status("failed", error=error.what if isinstance(error, MriganError) else repr(error))
        raise
    except BaseException:  # a signal
        folder.set_status("stopped", error="stopped before it was finished")
        raise


def _fit(config: PoseConfig, data: PoseData, folder: RunFolder, run: Run) -> None:
    x, absent = _features(config, data.chosen)
    answered = np.isfinite(x).all(axis=1)
    labels = data.chosen.labels[answered]
    if len(np.unique(labels)) < 2:
        raise ShardError(
            f"the {len(labels)} training faces with a head pose are all {'fake' if labels.any() else 'real'}",
            where=", ".join(map(str, data.train.folders)),
            fix="give shards with real and fake faces in split train",
        )
    svm = PoseSvm.fit(x[answered], labels, config.model.C)
    held_out, absent_held_out = _features(config, data.val)
    scores = pose_scores(data.val, svm.logits(held_out), folder.path.resolve().name)
    write_scores(scores, folder.path / "scores-val.parquet")
    thresholds = search_thresholds(scores)
    metrics = _metrics(scores)
    metrics |= {"train/faces": len(labels), "train/no_answer": absent.total(), "val/no_answer": absent_held_out.total()}
    run.log_metrics(metrics, 1)
    provenance = {
        "config": to_dict(config), "code_version": code_version(), "shard_hashes": data.train.folder_hashes,
        **data.depends, "mlflow_run_id": run.id, "thresholds": thresholds,
        "poses": {"fitted_to": len(labels), "without": dict(absent), "without_held_out": dict(absent_held_out)},
    }  # fmt: skip
    save_pose_model(folder.model, svm, {
        "points": config.data.points, "focal": config.model.focal, "depth": config.model.depth,
        "thresholds": {name: thresholds[name] for name in ("frame", "fraction")},
        "data": learned_data(data.train, data.val, config.data.about), "provenance": provenance,
    })  # fmt: skip
    for path in (folder.path / "scores-val.parquet", folder.model):
        run.log_artifact(path)
    log.info("fitted to %d faces; on validation: %s", len(labels), skill(scores).why)


def _features(config: PoseConfig, shards: ShardSet) -> tuple[NDArray[np.float64], Counter[str]]:
    """(N, 12) features, NaN where there is no answer, and why there is none."""
    source = config.data.points
    found = stored_landmarks(shards, source, MESH_OF_68.tolist() if source == "mesh" else None)
    features = features_of(found.points, found.frame_sizes, config.model.focal, config.model.depth)
    reasons = found.absent + features.reasons
    reasons["missing points"] -= found.absent.total()  # counted by their own reasons
    reasons = +reasons
    if reasons:
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        log.warning("split %s: %d of %d faces have no head pose: %s", shards.split, reasons.total(), len(shards), why)
    return features.values, reasons


def _metrics(scores: pa.Table) -> dict[str, Any]:
    """Frame and video figures of validation, for the log."""
    faces = faces_only(scores)
    frames = frame_metrics(faces["label"].to_numpy(), faces["prob"].to_numpy())
    videos = video_metrics(video_table(scores))
    figures = {f"val/{name}": frames[name] for name in METRICS}
    return {**figures, "val/video_auc": videos["auc"], "val/coverage": videos["coverage"]}
