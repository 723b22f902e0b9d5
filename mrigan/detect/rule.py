"""By which rule a video is judged: the paper's share of suspicious faces, or another that the model stores.

Each rule makes one score of a video's faces (see `mrigan.evaluation.aggregation`) and calls it fake from a threshold on
that was found on the model's own validation videos. A threshold that nobody has fitted is no rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mrigan.config.model_card import StoredRule, Thresholds, given
from mrigan.detect.options import PAPERS_RULE
from mrigan.detect.verdict import Word
from mrigan.errors import ConfigError, ModelError
from mrigan.evaluation.aggregation import ROUNDING, STRATEGIES, aggregate


@dataclass(frozen=True)
class Rule:
    """A video is fake when the score of its faces is `threshold` or more, and real when it is below `real_below`.

    Attributes:
        real_below: from it up to the threshold there is no verdict; None = every score has one.
        name: a key of `STRATEGIES`. settings: what `aggregate` needs for it.
    """

    name: str
    threshold: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    real_below: float | None = None

    def score(self, probs: ArrayLike) -> float | None:
        """The score, 0..1, of the face probabilities of one video; None without a face.

        Args:
            probs: (N,), or (N, K) of the networks of an ensemble, each of which then scores the video; the score is the
                mean of theirs.
        """
        p = np.asarray(probs, np.float64)
        if not len(p):
            return None
        faces = np.zeros(len(p), np.int64)
        each = [aggregate(self.name, one, faces, 1, self.settings)[0] for one in p.reshape(len(p), -1).T]
        return float(np.mean(each))

    def verdict(self, probs: ArrayLike) -> Word:
        """`fake` or `real` by `score`; `undecided` without a face, and between `real_below` and the threshold."""
        score = self.score(probs)
        if score is None:
            return "undecided"
        if score >= self.threshold - ROUNDING:
            return "fake"
        return "real" if self.real_below is None or score < self.real_below - ROUNDING else "undecided"


def papers_rule(thresholds: Thresholds) -> Rule:
    """The share of faces above `frame`, fake from `fraction` on (MRI-GAN, section 5)."""
    return Rule(PAPERS_RULE, thresholds.fraction, {"frame": thresholds.frame}, thresholds.real_below)


def choose_rule(name: str, thresholds: Thresholds, stored: Mapping[str, StoredRule]) -> Rule:
    """The rule called `name` of a model.

    Args:
        stored: the other rules of the model.

    Raises:
        ConfigError: the model stores no such rule; says which ones it does. ModelError: what it stores cannot be used.
    """
    if name == PAPERS_RULE:
        return papers_rule(thresholds)
    usable = [other for other in stored if other in STRATEGIES and other != PAPERS_RULE]
    if name not in usable:
        raise ConfigError(
            f"the model stores no rule {name!r}" if name in STRATEGIES else f"no rule {name!r}",
            where="--rule",
            fix=f"one of: {', '.join([PAPERS_RULE, *usable])}",
        )
    rule = Rule(name, stored[name].threshold, given(stored[name].settings), stored[name].real_below)
    try:
        score = rule.score([0.5])
    except (KeyError, TypeError, ValueError, ConfigError):
        score = None
    if score is None or not math.isfinite(score):
        raise ModelError(f"model.json has an unusable rule {name}", fix="give a model folder as a training wrote it")
    return rule


def counted(how: str, frames: np.ndarray, areas: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Which of N faces count, (N,) bool, by `Judging.frame`.

    Args:
        frames, areas, probs: (N,) each; the areas of the boxes in px².
    """
    if how == "all":
        return np.ones(len(probs), bool)
    chosen = np.zeros(len(probs), bool)
    for frame in np.unique(frames):
        here = np.flatnonzero(frames == frame)
        large = here[areas[here] >= areas[here].max() / 2]
        chosen[large[probs[large].argmax()]] = True
    return chosen
