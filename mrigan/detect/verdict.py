"""From probabilities to a verdict: the fraction rule (MRI-GAN, section 5), and what must be said beside it.

A video is fake when at least `fraction` of its faces have a probability above `frame`; both thresholds, and the least
number of faces that a video must show (`min_faces`), travel with the model. Without a face there is no verdict.

`probability` is the mean of the faces' probabilities. `interval` holds 95 % of the means of 1,000 seeded draws of the
frames with replacement (faces of one frame stay together; frames close in time look alike, so the truth is wider). It
says how much the faces of this input differ, and nothing about how the model does on such inputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mrigan.config import FacesConfig
from mrigan.detect.findings import Findings
from mrigan.evaluation.videos import video_verdict

SCHEMA_VERSION = 1
MIN_FACES = 3  # of a video, where the model does not say; a picture needs one
DRAWS, COVERAGE = 1000, 0.95


def verdict(
    path: str,
    findings: Findings,
    *,
    picture: bool,
    thresholds: Mapping[str, float],
    config: FacesConfig,
    model: Mapping[str, Any],
    cropped: bool = False,
) -> dict[str, Any]:
    """The verdict on one input, as JSON values; see docs of the fields at the top and in the page.

    Args:
        path: as given.
        thresholds: `frame`, `fraction` and maybe `min_faces`.
        config: how the faces were looked for.
        model: what is said about the model.
    """
    needed = 1 if picture else int(thresholds.get("min_faces", MIN_FACES))
    probs = np.array(findings.probs, np.float64)
    reason = None
    if findings.error and not findings.frames:
        reason = "unreadable"
    elif not len(probs):
        reason = "no_face"
    elif len(probs) < needed:
        reason = "too_few_faces"
    return {
        "schema_version": SCHEMA_VERSION,
        "path": path,
        "verdict": "undecided" if reason else video_verdict(probs, thresholds),
        "reason": reason,
        "probability": _mean(probs),
        "interval": interval([face.frame for face in findings.faces], probs),
        "fraction": float((probs > thresholds["frame"]).mean()) if len(probs) else None,
        "thresholds": {"frame": thresholds["frame"], "fraction": thresholds["fraction"], "min_faces": needed},
        "persons": _persons(findings, probs, thresholds, needed),
        "faces": [
            {
                "frame": f.frame,
                "time": round(f.time, 4),
                "person": f.person,
                "box": [round(v, 1) for v in f.box],
                "prob": p,
            }
            for f, p in zip(findings.faces, findings.probs, strict=True)
        ],
        "not_analysed": _not_analysed(findings, picture, config, cropped),
        "model": dict(model),
    }


def interval(frames: Sequence[int], probs: np.ndarray) -> list[float] | None:
    """The 95 % percentile interval of the mean over bootstrap draws of whole frames; None with less than two frames."""
    _, groups = np.unique(np.asarray(frames, np.int64), return_inverse=True)
    n = int(groups.max()) + 1 if len(probs) else 0
    if n < 2:
        return None
    sums, sizes = np.bincount(groups, probs, n), np.bincount(groups, minlength=n)
    draws = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), DRAWS)  # how often each frame is drawn
    low, high = np.quantile((draws @ sums) / (draws @ sizes), [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return [float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1))]


def _mean(probs: np.ndarray) -> float | None:
    return math.fsum(probs) / len(probs) if len(probs) else None


def _persons(
    findings: Findings, probs: np.ndarray, thresholds: Mapping[str, float], needed: int
) -> list[dict[str, Any]]:
    """One entry a person, by the same rule over that person's faces alone: one of several people may be forged."""
    numbers = np.array([face.person for face in findings.faces], np.int64)
    times = np.array([face.time for face in findings.faces])
    persons = []
    for person in np.unique(numbers).tolist():
        p, t = probs[numbers == person], times[numbers == person]
        persons.append(
            {
                "person": person,
                "faces": len(p),
                "verdict": video_verdict(p, thresholds) if len(p) >= needed else "undecided",
                "probability": _mean(p),
                "fraction": float((p > thresholds["frame"]).mean()),
                "first": round(float(t.min()), 4),
                "last": round(float(t.max()), 4),
            }
        )
    return persons


def _not_analysed(findings: Findings, picture: bool, config: FacesConfig, cropped: bool) -> list[dict[str, str]]:
    """What was not looked at, and why, in sentences."""
    missed: list[tuple[str, str]] = []
    if findings.error and findings.frames:
        missed.append(("rest_of_file", f"The file is damaged or cut off: {findings.error}."))
    elif findings.error:
        missed.append(("file", f"{findings.error[:1].upper()}{findings.error[1:]}."))
    if not findings.frames:
        return [{"what": what, "detail": detail} for what, detail in missed]
    if picture and (findings.total or 1) > 1:
        missed.append(("other_pictures", f"Only the first of the file's {findings.total} pictures was looked at."))
    if not picture and config.every > 1:
        of = f" of {findings.total}" if findings.total else ""
        missed.append(
            (
                "frames",
                f"One frame in {config.every} was looked at: {findings.frames}{of}. --every 1 looks at all of them.",
            )
        )
    if findings.empty and findings.faces:
        missed.append(
            ("frames_without_face", f"No face was found in {findings.empty} of the {findings.frames} frames looked at.")
        )
    least = smallest_face(findings.size, config)
    if not cropped and config.long_side and max(findings.size) > config.long_side:
        missed.append(
            (
                "small_faces",
                f"Faces under about {least} px were not looked for in frames of "
                f"{findings.size[0]} × {findings.size[1]} px. --small-faces looks for them.",
            )
        )
    if findings.crowded and not cropped:
        missed.append(
            (
                "more_faces",
                f"{findings.crowded} frames show {config.max_persons} faces or more; "
                f"the {config.max_persons} largest were looked at.",
            )
        )
    return [{"what": what, "detail": detail} for what, detail in missed]


def smallest_face(size: tuple[int, int], config: FacesConfig) -> int:
    """The side of the smallest face that is looked for, in px of a frame of `size`."""
    shrink = max(size) / config.long_side if config.long_side else 1.0
    return math.ceil(config.min_face * max(shrink, 1.0))
