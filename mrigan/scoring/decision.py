"""Give a model the thresholds at which few real videos are called fake, and a band in which it says neither."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mrigan.errors import ConfigError, InputError
from mrigan.evaluation.aggregation import ROUNDING, aggregate
from mrigan.evaluation.schema import VIDEO, faces_only, group_codes
from mrigan.evaluation.scores import read_scores
from mrigan.foreign_files import read_json
from mrigan.models.bundle import CARD_FILE, copy_bundle, load_bundle

MIN_REALS = 20  # videos; one of them is 5 %
PAPERS_RULE = "fraction"


@dataclass(frozen=True)
class Decision:
    """A video is fake from `threshold` on, real below `real_below`, and undecided between the two."""

    threshold: float
    real_below: float


def fit_decision(reals: Sequence[float], max_false_alarms: float, max_undecided: float) -> Decision:
    """The lowest thresholds that keep both shares on these real videos.

    Args:
        reals: the scores of real videos, 0...1.
        max_false_alarms: share that may be called fake. max_undecided: share that may be undecided.

    Raises:
        InputError: more reals than may be called fake have the highest score that there is.
    """
    falling = np.sort(np.asarray(reals, np.float64))[::-1]
    fakes = math.floor(max_false_alarms * len(falling) + ROUNDING)
    if fakes < len(falling) and falling[fakes] >= 1:
        raise InputError(
            f"{int((falling >= 1).sum())} of {len(falling)} real videos score 1, so no threshold keeps the share of "
            f"{max_false_alarms:g}",
            where="--max-false-alarms",
            fix="use another rule, such as mean, or allow more",
        )
    neither = math.floor(max_undecided * len(falling) + ROUNDING)
    return Decision(_above(falling, fakes), _above(falling, min(fakes + neither, len(falling))))


def _above(falling: np.ndarray, count: int) -> float:
    """A threshold that at most `count` of the falling scores reach: halfway to the score that does."""
    if count == len(falling):
        return 0.0
    below = falling[count]
    reaching = falling[:count][falling[:count] > below]  # ties of the next score must not reach it either
    return float((below + (reaching[-1] if len(reaching) else 1.0)) / 2)


def decide_by(
    model: str | Path,
    files: Sequence[str | Path],
    out: str | Path,
    *,
    rule: str = "mean",
    max_false_alarms: float = 0.05,
    max_undecided: float = 0.2,
) -> dict[str, Any]:
    """Write the model again, with a decision that was fitted on the real videos of scores tables.

    Args:
        model: a model folder; it is not changed. files: scores.parquet of this model.
        rule: by which the new model judges: `fraction`, or one that it stores.

    Returns:
        `threshold`, `real_below`, `reals`, `reals_called_fake`, `reals_undecided`, and the same of fakes if there are
        any.

    Raises:
        ConfigError: the model has no such rule. InputError: fewer than 20 real videos; see `fit_decision`.
    """
    folder = Path(model)
    if Path(out).resolve() == folder.resolve():
        raise ConfigError("the new model would replace the old one", where=out, fix="give another folder for --out")
    bundle = load_bundle(folder)
    if rule != PAPERS_RULE and rule not in bundle.card.doubt.rules:
        known = ", ".join([PAPERS_RULE, *bundle.card.doubt.rules])
        raise ConfigError(f"the model stores no rule {rule!r}", where="--rule", fix=f"one of: {known}")
    meta = read_json(folder / CARD_FILE)
    stored = meta["thresholds"] if rule == PAPERS_RULE else meta["doubt"]["rules"][rule]
    settings = {"frame": stored["frame"]} if rule == PAPERS_RULE else stored.get("settings", {})
    labels, scores = _videos(files, rule, settings)
    reals, fakes = scores[labels == 0], scores[labels == 1]
    if len(reals) < MIN_REALS:
        raise InputError(
            f"{len(reals)} real videos with a face are too few to fit a threshold on",
            where=", ".join(map(str, files)),
            fix=f"give scores of {MIN_REALS} or more",
        )
    found = fit_decision(reals, max_false_alarms, max_undecided)
    stored["fraction" if rule == PAPERS_RULE else "threshold"] = found.threshold
    stored["real_below"] = found.real_below
    meta.setdefault("judging", {})["rule"] = rule
    counts = _counts("reals", reals, found) | (_counts("fakes", fakes, found) if len(fakes) else {})
    wanted = f"at most {max_false_alarms:.0%} called fake and {max_undecided:.0%} undecided"
    decision = {"rule": rule, "source": f"{len(reals)} real videos and pictures, {wanted}", **counts}
    meta["provenance"]["thresholds"] = {"source": f"fitted on {decision['source']}", "decision": decision}
    copy_bundle(folder, Path(out), meta)
    return {"threshold": found.threshold, "real_below": found.real_below, **counts}


def _counts(name: str, scores: np.ndarray, decision: Decision) -> dict[str, int]:
    fake = scores >= decision.threshold - ROUNDING
    real = ~fake & (scores < decision.real_below - ROUNDING)
    return {
        name: len(scores),
        f"{name}_called_fake": int(fake.sum()),
        f"{name}_undecided": int((~fake & ~real).sum()),
    }


def _videos(files: Sequence[str | Path], rule: str, settings: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Labels (K,) and scores (K,) of the videos with a face."""
    table = read_scores(files)
    models = sorted(set(table["model"].to_pylist()))
    if len(models) > 1:
        raise InputError(
            f"the scores are of {len(models)} models: {', '.join(map(repr, models[:5]))}",
            where=", ".join(map(str, files)),
            fix="give scores of this model alone",
        )
    faces = faces_only(table)
    codes, first = group_codes(faces, VIDEO)
    labels = faces["label"].to_numpy()[first]
    return labels, np.asarray(aggregate(rule, faces["prob"].to_numpy(), codes, len(labels), settings))
