"""The model folder of a pose detector: model.json and pose.skops; enough, alone, to score faces with landmarks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrigan.config import from_dict
from mrigan.config.fields import checked, choice, within
from mrigan.config.model_card import DataCard, Provenance, StoredFile, Thresholds
from mrigan.config.pose import POSE_DEPTH, POSE_FOCAL
from mrigan.errors import ConfigError, ModelError
from mrigan.files import atomic_write, sha256_file, write_json
from mrigan.foreign_files import read_json
from mrigan.pose.features import PoseFeatures, pose_features
from mrigan.pose.head_pose import Camera
from mrigan.pose.svm import PoseSvm

SCHEMA_VERSION = 1
KIND = "mrigan-pose"
CARD_FILE, SVM_FILE = "model.json", "pose.skops"
_FIX = "give the folder `model/` of a finished `mrigan train pose`"


@dataclass(frozen=True)
class PoseCard:
    """All of model.json.

    Attributes:
        points, focal, depth: see `mrigan.config.pose`.
    """

    schema_version: int = within(SCHEMA_VERSION, SCHEMA_VERSION, SCHEMA_VERSION, required=True)
    kind: str = checked(KIND, choices=(KIND,), required=True)
    points: str = choice("mesh", "dlib")
    focal: float = within(*POSE_FOCAL, 1.0, required=True)
    depth: float = within(*POSE_DEPTH, 0.7, required=True)
    thresholds: Thresholds = checked(Thresholds, required=True)
    files: dict[str, StoredFile] = checked({}, required=True)
    data: DataCard = checked(DataCard)
    provenance: dict[str, Any] = checked({}, typed=Provenance)


@dataclass(frozen=True)
class PoseModel:
    """A pose detector ready to score faces."""

    svm: PoseSvm
    card: PoseCard

    def features(self, points: NDArray[np.floating], frame_sizes: NDArray[np.floating]) -> PoseFeatures:
        """The features of faces.

        Args:
            points: (N, 68, 2) in px of full frames, found on the clip's own pixels. frame_sizes: (N, 2), (w, h) in px.
        """
        return features_of(points, frame_sizes, self.card.focal, self.card.depth)

    def score(self, points: NDArray[np.floating], frame_sizes: NDArray[np.floating]) -> NDArray[np.float64]:
        """Logits (N,), above 0 = fake; NaN = no answer. Arguments as `features`."""
        return self.svm.logits(self.features(points, frame_sizes).values)


def features_of(
    points: NDArray[np.floating], frame_sizes: NDArray[np.floating], focal: float, depth: float
) -> PoseFeatures:
    """See `PoseModel.features`; `focal` in widths of the frame."""
    cameras = (Camera.of(size, focal) for size in frame_sizes)
    return pose_features(zip(points, cameras, strict=True), depth)


def save_pose_model(folder: str | Path, svm: PoseSvm, card: dict[str, Any]) -> Path:
    """Write a model folder. model.json is written last: without it the folder is no model.

    Args:
        card: the values of `PoseCard` but for `files`, `kind` and `schema_version`.

    Raises:
        ConfigError: `load_pose_model` would refuse a value.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD_FILE).unlink(missing_ok=True)
    with atomic_write(folder / SVM_FILE) as file:
        file.write(svm.dumps())
    files = {SVM_FILE: {"sha256": sha256_file(folder / SVM_FILE), "bytes": (folder / SVM_FILE).stat().st_size}}
    meta = {"schema_version": SCHEMA_VERSION, "kind": KIND, **card, "files": files}
    checked_card = from_dict(PoseCard, meta, folder / CARD_FILE)
    write_json(folder / CARD_FILE, asdict(checked_card))
    return folder


def load_pose_model(folder: str | Path) -> PoseModel:
    """The model in `folder`. Its classifier is checked against its sha256, and nothing in it is executed.

    Raises:
        ModelError: it is not a pose model, or something in it is missing, damaged or out of range.
    """
    path = Path(folder) / CARD_FILE
    try:
        meta = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError("the folder has no model.json", where=folder, fix=_FIX) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"model.json cannot be read: {reason}", where=path, fix=_FIX) from None
    if not isinstance(meta, dict) or meta.get("kind") != KIND:
        raise ModelError("model.json does not describe a pose detector", where=path, fix=_FIX)
    try:
        card = from_dict(PoseCard, meta)
    except ConfigError as error:
        raise ModelError(f"model.json: {error.what}", where=path, fix=_FIX) from None
    if SVM_FILE not in card.files:
        raise ModelError(f"model.json: files does not list {SVM_FILE}", where=path, fix=_FIX)
    return PoseModel(PoseSvm.load(path.with_name(SVM_FILE), card.files[SVM_FILE].sha256), card)
