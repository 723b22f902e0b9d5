"""From probabilities to a verdict: the fraction rule (MRI-GAN, section 5), and what must be said beside it.

A video is fake when at least `fraction` of its faces have a probability above `frame`; both thresholds, and the least
number of faces that a video must show (`min_faces`), travel with the model. A model may judge by another rule that it
stores, or be asked for one (see `mrigan.detect.rule`), and may count one face a frame. Without a face there is no
verdict, nor where most faces are too small, too blurred, or unlike all that the model has seen, by limits that it
brings along.

`probability` is that of a fake at equal odds, by the model's calibration of the faces' mean logit; the mean of their
probabilities where the model has none (`calibration` null). `interval` holds 95 % of its values over 1,000 seeded draws
of the frames with replacement (faces of one frame stay together; frames close in time look alike, so the truth is
wider). It says how much the faces of this input differ, and nothing about how the model does on such inputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mrigan.config import FacesConfig
from mrigan.config.model_card import Calibration, Limits, ModelCard, Thresholds
from mrigan.detect.findings import Findings
from mrigan.detect.gaps import gaps_of
from mrigan.detect.options import PAPERS_RULE
from mrigan.detect.rule import Rule, choose_rule, counted
from mrigan.detect.verdict import (
    AppliedThresholds,
    FaceScore,
    FileIdentity,
    Measure,
    PersonVerdict,
    RuleScore,
    Verdict,
    Word,
)
from mrigan.evaluation.calibration import MAX_LOGIT, calibrate, sigmoid
from mrigan.evaluation.limits import NO_LIMIT, beyond, limit_passed, reason_not_judged

MIN_FACES = 3  # of a video, if the model does not say; a picture needs one
DRAWS, COVERAGE = 1000, 0.95
BY_CHANCE = (
    "no better than chance: at these thresholds the model gave at most half of its validation videos the right answer, "
    "each class counted alike"
)


@dataclass(frozen=True)
class Criteria:
    """What a verdict is decided by."""

    thresholds: Thresholds
    rule: Rule
    limits: Limits
    calibration: Calibration | None = None
    validation: Mapping[str, Any] = field(default_factory=dict)  # `tpr` and `tnr` of the fraction rule, if known
    frame: str = "all"  # which faces of a frame count, see `Judging`

    @classmethod
    def of(cls, card: ModelCard, rule: str, validation: Mapping[str, Any]) -> Criteria:
        """Those of a model, by one of its rules (see `choose_rule`); "" = the rule that it judges by."""
        fitted, judging = card.doubt, card.judging
        chosen = choose_rule(rule or judging.rule, card.thresholds, fitted.rules)
        return cls(card.thresholds, chosen, fitted.limits, fitted.calibration, validation, judging.frame)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What must be said before any verdict."""
        unlimited = (NO_LIMIT,) if self.limits.max_distance is None else ()
        rates = [self.validation[rate] for rate in ("tpr", "tnr") if rate in self.validation]
        by_chance = self.rule.name == PAPERS_RULE and len(rates) == 2 and sum(rates) <= 1
        return unlimited + ((BY_CHANCE,) if by_chance else ())


def decide(
    path: str,
    file: FileIdentity | None,
    findings: Findings,
    criteria: Criteria,
    *,
    picture: bool,
    config: FacesConfig,
    model: Mapping[str, Any],
    cropped: bool = False,
) -> Verdict:
    """The verdict on one input.

    Args:
        path: as given. file: see `identify`. config: how the faces were looked for. model: what is said of the model.
    """
    limits, rule = criteria.limits, criteria.rule
    needed = 1 if picture else limits.min_faces or MIN_FACES
    whole = _FaceGroup(findings, np.ones(len(findings.faces), bool), criteria.frame)
    reason = "unreadable" if findings.error and not findings.frames else whole.reason(criteria, needed)
    probability, spread = whole.estimate(criteria)
    return Verdict(
        path=path,
        input=file,
        verdict=_word(reason, rule, whole.judged),
        reason=reason,
        limit=limit_passed(limits, findings.measures) if len(whole.probs) >= needed else None,
        learned_from=model.get("learned_from"),
        warnings=criteria.warnings,
        rule=RuleScore(rule.name, rule.threshold, rule.score(whole.judged), rule.real_below),
        probability=probability,
        interval=spread,
        calibration=criteria.calibration.kind if criteria.calibration else None,
        fraction=whole.fraction(criteria) if len(whole.probs) else None,
        thresholds=AppliedThresholds(criteria.thresholds.frame, criteria.thresholds.fraction, needed),
        limits=replace(limits, min_faces=None),
        measured=_measured(limits, findings.measures),
        persons=_persons(findings, criteria, needed),
        faces=tuple(
            FaceScore(f.frame, round(f.time, 4), f.person, rounded_box(f.box), p)
            for f, p in zip(findings.faces, findings.probs, strict=True)
        ),
        gaps=gaps_of(findings, picture, config, cropped),
        model=model,
    )


def rounded_box(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """The box as verdicts state it."""
    x0, y0, x1, y1 = box
    return round(x0, 1), round(y0, 1), round(x1, 1), round(y1, 1)


class _FaceGroup:
    """Some faces of an input: those of all or of one person's (`chosen`, (N,) bool) that count (see `Judging.frame`).

    Attributes:
        judged: what the rule takes: `probs`, or those of each network of an ensemble, (faces, K).
    """

    def __init__(self, findings: Findings, chosen: np.ndarray, how: str) -> None:
        kept = np.flatnonzero(chosen)
        frames = np.array([face.frame for face in findings.faces], np.int64)
        areas = np.array([(f.box[2] - f.box[0]) * (f.box[3] - f.box[1]) for f in findings.faces])
        probs = np.array(findings.probs)
        kept = kept[counted(how, frames[kept], areas[kept], probs[kept])]
        self.probs, self.logits, self.frames = probs[kept], np.array(findings.logits)[kept], frames[kept]
        self.judged = self.probs if findings.each is None else sigmoid(findings.each[kept])
        self.times = np.array([face.time for face in findings.faces])[kept]
        self.measures = {name: values[kept] for name, values in findings.measures.items()}

    def reason(self, criteria: Criteria, needed: int) -> str | None:
        """Why these faces are not judged; None = they are."""
        if not len(self.probs):
            return "no_face"
        if len(self.probs) < needed:
            return "too_few_faces"
        unclear = "uncertain" if criteria.rule.verdict(self.judged) == "undecided" else None
        return reason_not_judged(criteria.limits, self.measures) or unclear

    def estimate(self, criteria: Criteria) -> tuple[float | None, tuple[float, float] | None]:
        return estimate(self.frames, self.logits, criteria.calibration)

    def fraction(self, criteria: Criteria) -> float:
        return float((self.probs > criteria.thresholds.frame).mean())


def _word(reason: str | None, rule: Rule, probs: np.ndarray) -> Word:
    return "undecided" if reason else rule.verdict(probs)


def estimate(
    frames: Sequence[int] | np.ndarray, logits: np.ndarray, calibration: Calibration | None
) -> tuple[float | None, tuple[float, float] | None]:
    """The probability of fake and its 95 % interval (see above); None without a face, and without two frames."""
    if not len(logits):
        return None, None
    values = np.clip(logits, -MAX_LOGIT, MAX_LOGIT) if calibration else sigmoid(logits)
    restate = (lambda x: calibrate(calibration, x)) if calibration else (lambda x: np.clip(x, 0, 1))
    spread = interval(frames, values)
    mean = math.fsum(values) / len(values)
    return float(restate([mean])[0]), None if spread is None else tuple(restate(spread).tolist())


def interval(frames: Sequence[int] | np.ndarray, values: np.ndarray) -> tuple[float, float] | None:
    """The 95 % percentile interval of the mean over bootstrap draws of whole frames; None with less than two frames."""
    _, groups = np.unique(np.asarray(frames, np.int64), return_inverse=True)
    n = int(groups.max()) + 1 if len(values) else 0
    if n < 2:
        return None
    sums, sizes = np.bincount(groups, values, n), np.bincount(groups, minlength=n)
    draws = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), DRAWS)  # how often each frame is drawn
    low, high = np.quantile((draws @ sums) / (draws @ sizes), [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)


def _measured(limits: Limits, measures: Mapping[str, np.ndarray]) -> dict[str, Measure]:
    """What the limits were compared with."""
    out = beyond(limits, measures)
    return {
        name: Measure(float(np.median(values)), float(out[name].mean()) if name in out else None)
        for name, values in measures.items()
        if len(values)
    }


def _persons(findings: Findings, criteria: Criteria, needed: int) -> tuple[PersonVerdict, ...]:
    """The same decision over each person's faces alone: one of several people may be forged."""
    numbers = np.array([face.person for face in findings.faces], np.int64)
    persons = []
    for person in np.unique(numbers).tolist():
        part = _FaceGroup(findings, numbers == person, criteria.frame)
        reason = part.reason(criteria, needed)
        probability, spread = part.estimate(criteria)
        score = criteria.rule.score(part.judged)
        assert score is not None
        assert probability is not None
        persons.append(
            PersonVerdict(
                person=person,
                faces=len(part.probs),
                verdict=_word(reason, criteria.rule, part.judged),
                reason=reason,
                score=score,
                probability=probability,
                interval=spread,
                fraction=part.fraction(criteria),
                first=round(float(part.times.min()), 4),
                last=round(float(part.times.max()), 4),
            )
        )
    return tuple(persons)
