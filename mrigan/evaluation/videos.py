"""The fraction rule and video-level metrics (MRI-GAN, section 5).

A video is called fake if at least `fraction` of its faces have prob > `frame`. For AUC, EER, AP and log-loss, the score
of a video is the mean probability of its faces, because thresholded answers lose the ranking. `fraction_auc` ranks the
share of faces above `frame`, on which the verdict is based.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from mrigan.evaluation.aggregation import ROUNDING
from mrigan.evaluation.metrics import decision_metrics, ranking_metrics
from mrigan.evaluation.schema import MRI, OPTIONAL, VIDEO, group_codes

DEFAULT_THRESHOLDS = {"frame": 0.5, "fraction": 0.5}


def enough(fake_faces: ArrayLike, faces: ArrayLike, fraction: ArrayLike) -> NDArray[np.bool_]:
    """Whether #(prob > frame) >= fraction * #faces; broadcasts. False without faces."""
    n = np.asarray(faces)
    return (np.asarray(fake_faces) >= np.asarray(fraction) * n - ROUNDING) & (n > 0)


def video_verdict(probs: ArrayLike, thresholds: Mapping[str, Any]) -> str:
    """`fake` or `real` for the (N,) face probabilities of one video; `undecided` without a face."""
    p = np.asarray(probs, np.float64)
    if not p.size:
        return "undecided"
    return "fake" if enough((p > thresholds["frame"]).sum(), p.size, thresholds["fraction"]) else "real"


def video_table(scores: pa.Table, thresholds: Mapping[str, Any] = DEFAULT_THRESHOLDS) -> pa.Table:
    """One row per (model, video), sorted.

    Args:
        scores: a checked scores table.
        thresholds: `frame` (a face above it counts as fake) and `fraction` (of the faces).

    Returns:
        Columns `model dataset method compression name split label family group`, `faces` (count), `prob` (mean over the
        faces, null without a face), `fraction` (of the faces with prob > frame, null without a face), `verdict` (fake,
        real or undecided), `mri` (mean brightness of the faces' MRIs, null if the model draws none).
    """
    codes, first = group_codes(scores, ("model", *VIDEO))
    face = scores["frame"].to_numpy() >= 0
    probs = scores["prob"].fill_null(0).to_numpy()
    videos = len(first)
    faces = np.bincount(codes[face], minlength=videos)
    called = np.bincount(codes[face & (probs > thresholds["frame"])], minlength=videos)
    total = np.bincount(codes[face], weights=probs[face], minlength=videos)
    none = faces == 0
    divisor = np.maximum(faces, 1)
    brightness = scores[MRI.name].to_numpy()  # NaN = null
    drawn = ~np.isnan(brightness)
    mris = np.bincount(codes[drawn], minlength=videos)
    bright = np.bincount(codes[drawn], weights=brightness[drawn], minlength=videos) / np.maximum(mris, 1)
    verdict = np.where(none, "undecided", np.where(enough(called, faces, thresholds["fraction"]), "fake", "real"))
    table = scores.take(first).select(["model", *VIDEO, "split", "label", *OPTIONAL.names])
    for name, column in {
        "faces": pa.array(faces, pa.int32()),
        "prob": pa.array(np.clip(total / divisor, 0, 1), mask=none),  # a sum of ones may be rounded up
        "fraction": pa.array(called / divisor, mask=none),
        "verdict": pa.array(verdict.tolist(), pa.string()),
        MRI.name: pa.array(np.clip(bright, 0, 1), mask=mris == 0),
    }.items():
        table = table.append_column(name, column)
    return table.sort_by([(name, "ascending") for name in ("model", *VIDEO)])


def video_metrics(videos: pa.Table) -> dict[str, Any]:
    """The metrics of a `video_table` of one model.

    Videos without a face are not predictions. They count in `n` and `coverage`, and as wrong in `accuracy_of_all`; no
    other rate includes them.

    Returns:
        `n fake real` (videos), `predicted`, `undecided` {real, fake}, `coverage` (predicted / n); of the predicted
        videos `auc eer ap log_loss` (of the mean probability), `fraction_auc`, the counts and rates of the verdicts as
        in `frame_metrics`; `accuracy_of_all`; and `undefined` {name: reason}.
    """
    predicted = videos.filter(pc.greater(videos["faces"], 0))
    labels = predicted["label"].to_numpy().astype(bool)
    ranking, why = ranking_metrics(labels, predicted["prob"].to_numpy())
    by_fraction, why_fraction = ranking_metrics(labels, predicted["fraction"].to_numpy())
    decision, why_not = decision_metrics(labels, pc.equal(predicted["verdict"], "fake").to_numpy())
    undefined = {**why, **why_not}
    if "auc" in why_fraction:
        undefined["fraction_auc"] = why_fraction["auc"]
    everything = videos["label"].to_numpy().astype(bool)
    n, fake = len(everything), int(everything.sum())
    right = int(decision["tp"] or 0) + int(decision["tn"] or 0)
    return {
        "n": n,
        "fake": fake,
        "real": n - fake,
        "predicted": len(labels),
        "undecided": {"real": n - fake - int((~labels).sum()), "fake": fake - int(labels.sum())},
        "coverage": len(labels) / n if n else None,
        **ranking,
        "fraction_auc": by_fraction["auc"],
        **decision,
        "accuracy_of_all": right / n if n else None,
        "undefined": undefined,
    }
