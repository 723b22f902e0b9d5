"""From probabilities to a verdict: the fraction rule (MRI-GAN, section 5), and what must be said beside it.

A video is fake when at least `fraction` of its faces have a probability above `frame`; both thresholds, and the least
number of faces that a video must show (`min_faces`), travel with the model. It may be asked for another rule that it
stores (see `mrigan.detect.rule`). Without a face there is no verdict, nor where most faces are too small, too blurred,
or unlike all that the model has seen, by limits that it brings along.

`probability` is that of a fake at equal odds, by the model's calibration of the faces' mean logit; the mean of their
probabilities where the model has none (`calibration` null). `interval` holds 95 % of its values over 1,000 seeded draws
of the frames with replacement (faces of one frame stay together; frames close in time look alike, so the truth is
wider). It says how much the faces of this input differ, and nothing about how the model does on such inputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mrigan.config import FacesConfig
from mrigan.detect.findings import Findings
from mrigan.detect.rule import Rule, papers_rule
from mrigan.evaluation.calibration import MAX_LOGIT, calibrate, sigmoid
from mrigan.evaluation.limits import LIMITS, NO_LIMIT, beyond, limit_passed, reason_not_judged

SCHEMA_VERSION = 1
MIN_FACES = 3  # of a video, where the model does not say; a picture needs one
MAX_CHANGES = 6  # of a video's frame size that are listed
DRAWS, COVERAGE = 1000, 0.95
DOUBTS = {  # reasons for which faces that were found are not judged
    "too_small": "most faces are smaller than those that the model was tested on",
    "too_blurred": "most faces are more blurred than those that the model was tested on",
    "out_of_range": "most faces are unlike those that the model has seen",
}
COLOURLESS = "most faces have hardly any colour, and the model has seen no such"  # out_of_range, by `min_colour`
SINGULAR = {  # of the sentences above, for a picture with one face
    DOUBTS["too_small"]: "the face is smaller than those that the model was tested on",
    DOUBTS["too_blurred"]: "the face is more blurred than those that the model was tested on",
    DOUBTS["out_of_range"]: "the face is unlike those that the model has seen",
    COLOURLESS: "the face has hardly any colour, and the model has seen no such",
}


def verdict(
    path: str,
    file: Mapping[str, Any] | None,
    findings: Findings,
    *,
    picture: bool,
    thresholds: Mapping[str, float],
    doubt: Mapping[str, Any],
    config: FacesConfig,
    model: Mapping[str, Any],
    cropped: bool = False,
    rule: Rule | None = None,
) -> dict[str, Any]:
    """The verdict on one input, as JSON values; see docs of the fields at the top and in the page.

    Args:
        path: as given. file: its size, time of change and SHA-256 (see `identify`), None where it is not there.
        thresholds: `frame`, `fraction`. doubt: the model's calibration and limits (see `mrigan.evaluation.fit_limits`).
        config: how the faces were looked for.
        model: what is said about the model.
        rule: instead of the paper's.
    """
    rule = rule or papers_rule(thresholds)
    limits, calibration = doubt.get("limits") or {}, doubt.get("calibration")
    needed = 1 if picture else int(limits.get("min_faces", MIN_FACES))
    probs, frames = np.array(findings.probs, np.float64), [face.frame for face in findings.faces]
    reason = None
    if findings.error and not findings.frames:
        reason = "unreadable"
    elif not len(probs):
        reason = "no_face"
    elif len(probs) < needed:
        reason = "too_few_faces"
    else:
        reason = reason_not_judged(limits, findings.measures)
    passed = limit_passed(limits, findings.measures) if reason in DOUBTS else None
    probability, spread = estimate(frames, np.array(findings.logits), calibration)
    return {
        "schema_version": SCHEMA_VERSION,
        "path": path,
        "input": None if file is None else dict(file),
        "verdict": "undecided" if reason else rule.verdict(probs),
        "reason": reason,
        "limit": passed,
        "learned_from": model.get("learned_from"),
        "warnings": warnings(limits),
        "rule": {"name": rule.name, "threshold": rule.threshold, "score": rule.score(probs)},
        "probability": probability,
        "interval": spread,
        "calibration": calibration["kind"] if calibration else None,
        "fraction": float((probs > thresholds["frame"]).mean()) if len(probs) else None,
        "thresholds": {"frame": thresholds["frame"], "fraction": thresholds["fraction"], "min_faces": needed},
        "limits": {name: value for name, value in limits.items() if name != "min_faces"},
        "measured": measured(limits, findings.measures),
        "persons": _persons(
            findings, rule, above=thresholds["frame"], limits=limits, calibration=calibration, needed=needed
        ),
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


def warnings(limits: Mapping[str, float]) -> list[str]:
    """What must be said of a model before anything that it says."""
    return [] if LIMITS["distance"][0] in limits else [NO_LIMIT]


def doubt_in_words(v: Mapping[str, Any]) -> str:
    """Why the faces of a verdict whose reason is one of `DOUBTS` are not judged."""
    words = COLOURLESS if v.get("limit") == LIMITS["colour"][0] else DOUBTS[v["reason"]]
    return words if len(v["faces"]) > 1 else SINGULAR[words]


def estimate(
    frames: Sequence[int], logits: np.ndarray, calibration: Mapping[str, Any] | None
) -> tuple[float | None, list[float] | None]:
    """The probability of fake and its 95 % interval (see above); None without a face, and without two frames."""
    if not len(logits):
        return None, None
    values = np.clip(logits, -MAX_LOGIT, MAX_LOGIT) if calibration else sigmoid(logits)
    restate = (lambda x: calibrate(calibration, x)) if calibration else (lambda x: np.clip(x, 0, 1))
    spread = interval(frames, values)
    mean = math.fsum(values) / len(values)
    return float(restate([mean])[0]), None if spread is None else [float(v) for v in restate(spread)]


def interval(frames: Sequence[int], values: np.ndarray) -> list[float] | None:
    """The 95 % percentile interval of the mean over bootstrap draws of whole frames; None with less than two frames."""
    _, groups = np.unique(np.asarray(frames, np.int64), return_inverse=True)
    n = int(groups.max()) + 1 if len(values) else 0
    if n < 2:
        return None
    sums, sizes = np.bincount(groups, values, n), np.bincount(groups, minlength=n)
    draws = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), DRAWS)  # how often each frame is drawn
    low, high = np.quantile((draws @ sums) / (draws @ sizes), [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return [float(low), float(high)]


def measured(limits: Mapping[str, float], measures: Mapping[str, np.ndarray]) -> dict[str, dict[str, float | None]]:
    """What the limits were compared with: of each measure the median face, and the share of faces beyond the limit
    (null where the model knows none)."""
    out = beyond(limits, measures)
    return {
        name: {
            "median": float(np.median(values)),
            "beyond": float(out[name].mean()) if name in out else None,
        }
        for name, values in measures.items()
        if len(values)
    }


def _persons(
    findings: Findings,
    rule: Rule,
    *,
    above: float,
    limits: Mapping[str, float],
    calibration: Mapping[str, Any] | None,
    needed: int,
) -> list[dict[str, Any]]:
    """One entry a person, by the same rule over that person's faces alone: one of several people may be forged."""
    numbers = np.array([face.person for face in findings.faces], np.int64)
    times = np.array([face.time for face in findings.faces])
    frames = np.array([face.frame for face in findings.faces], np.int64)
    probs, logits = np.array(findings.probs, np.float64), np.array(findings.logits, np.float64)
    persons = []
    for person in np.unique(numbers).tolist():
        mine = numbers == person
        p, t = probs[mine], times[mine]
        reason: str | None = "too_few_faces"
        if len(p) >= needed:
            reason = reason_not_judged(limits, {name: values[mine] for name, values in findings.measures.items()})
        probability, spread = estimate(frames[mine].tolist(), logits[mine], calibration)
        persons.append(
            {
                "person": person,
                "faces": len(p),
                "verdict": "undecided" if reason else rule.verdict(p),
                "reason": reason,
                "score": rule.score(p),
                "probability": probability,
                "interval": spread,
                "fraction": float((p > above).mean()),
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
    if findings.damaged:
        missed.append(
            ("damaged_frames", f"{findings.damaged[:1].upper()}{findings.damaged[1:]}; no face of them was looked at.")
        )
    if findings.others:
        missed.append(("other_streams", f"Not looked at in this file: {'; '.join(findings.others)}."))
    if len(findings.changes) > 1:
        missed.append(("frame_size_changes", _size_changes(findings)))
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


def _size_changes(findings: Findings) -> str:
    """That the frames have several sizes, and which; they were looked at in one."""
    sizes = [f"{w} × {h} px from {time:.1f} s" for time, (w, h) in findings.changes]
    more = len(sizes) - MAX_CHANGES
    listed = ", ".join(sizes[:MAX_CHANGES]) + (f", and {more} more" if more > 0 else "")
    count, (w, h) = len(sizes) - 1, findings.size
    times = "once" if count == 1 else f"{count} times"
    return (
        f"The size of the frames changes {times}: {listed}. All of them were brought to {w} × {h} px, and none was "
        "stretched; those that were smaller show less detail."
    )


def smallest_face(size: tuple[int, int], config: FacesConfig) -> int:
    """The side of the smallest face that is looked for, in px of a frame of `size`."""
    shrink = max(size) / config.long_side if config.long_side else 1.0
    return math.ceil(config.min_face * max(shrink, 1.0))
