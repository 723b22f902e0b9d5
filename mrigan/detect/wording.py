"""A verdict in words: its reason, what it was compared with, what its probability means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mrigan.detect.options import PAPERS_RULE
from mrigan.detect.verdict import Verdict
from mrigan.evaluation.calibration import at_prior
from mrigan.evaluation.limits import LIMITS
from mrigan.evaluation.rates import words

PRIORS = ((0.1, "one file in ten"), (0.01, "one in a hundred"))
MEASURES = {  # how a page calls them; decimals
    "side": ("Width of a face in the frame, px", 0),
    "sharpness": ("Sharpness of a face (variance of its Laplacian)", 1),
    "distance": ("Distance from the faces that the model knows", 2),
    "colour": ("Spread of a face's colours, levels", 1),
}

RULES = {  # what a video's score is, by the rules that a page may have to explain
    "mean": "the mean probability of its faces",
    "mean_logit": "the mean of its faces' logits, as a probability",
    "confident_mean": "the mean of the faces above .8 where they are many, of those below .2 where nearly all are, "
    "else of all",
    "top": "the mean probability of the fifth of its faces with the highest ones",
    "learned": "a logistic regression on how the logits of its faces are spread",
}

NOT_JUDGED = {  # why faces that were found are not judged, by the reason
    "too_small": "most faces are smaller than those that the model was tested on",
    "too_blurred": "most faces are more blurred than those that the model was tested on",
    "out_of_range": "most faces are unlike those that the model has seen",
}
COLOURLESS = "most faces have hardly any colour, and the model has seen no such"  # out_of_range, by `min_colour`
SINGULAR = {  # of the sentences above, for a picture with one face
    NOT_JUDGED["too_small"]: "the face is smaller than those that the model was tested on",
    NOT_JUDGED["too_blurred"]: "the face is more blurred than those that the model was tested on",
    NOT_JUDGED["out_of_range"]: "the face is unlike those that the model has seen",
    COLOURLESS: "the face has hardly any colour, and the model has seen no such",
}


@dataclass(frozen=True)
class LimitRow:
    """One limit: what was found, what is wanted, the share of faces beyond it; `broken`: the reason for no verdict."""

    name: str
    found: str
    wanted: str
    beyond: str
    broken: bool


def sentence(v: Verdict, picture: bool) -> str:
    """Why the verdict is what it is."""
    faces, limits = v.faces, v.thresholds
    if v.reason == "unreadable":
        return v.gaps[0].detail
    what = "picture" if picture else "video"
    if v.reason == "no_face":
        return f"No face was found, so there is nothing to judge. That does not make the {what} real."
    if v.reason == "too_few_faces":
        found = "Only one face was" if len(faces) == 1 else f"Only {len(faces)} faces were"
        return f"{found} found; a verdict on a video needs {limits.min_faces}."
    if v.reason == "uncertain":
        score, low, high = (number(x) for x in (v.rule.score, v.rule.real_below, v.rule.threshold))
        return (
            f"The {what} scored {score}. Below {low} the model says real, from {high} on fake; between the two it is "
            "too often wrong to say either."
        )
    if v.reason:
        why = why_not_judged(v)
        return f"{why[:1].upper()}{why[1:]}, so it cannot say."
    above = sum(face.prob > limits.frame for face in faces)
    rule = v.rule
    if rule.name != PAPERS_RULE:
        return (
            f"By the rule “{rule.words}” the {what} scored {number(rule.score)}; it says fake from "
            f"{number(rule.threshold)} on. {above} of {len(faces)} faces scored above {number(limits.frame)}."
        )
    if len(faces) == 1:
        side = "above" if above else "not above"
        return f"The face scored {number(faces[0].prob)}, {side} the threshold of {number(limits.frame)}."
    reached, needed = share(v.fraction or 0.0, limits.fraction)
    return (
        f"{above} of {len(faces)} faces ({reached}) scored above {number(limits.frame)}. "
        f"From {needed} on, the rule says fake."
    )


def why_not_judged(v: Verdict) -> str:
    """Why the faces of a verdict whose reason is one of `NOT_JUDGED` are not judged."""
    words = COLOURLESS if v.limit == LIMITS["colour"][0] else NOT_JUDGED[v.reason or ""]
    return words if len(v.faces) > 1 else SINGULAR[words]


def learned(v: Verdict) -> str:
    """What the model of a verdict learned from, as part of the verdict's line."""
    return f"the model learned from {v.learned_from or 'data that it does not name'}"


def validated(model: Mapping[str, Any], rule: str = PAPERS_RULE) -> str:
    """How often the model was right on validation, with counts and exact intervals; empty where it does not say.

    Args:
        rule: that judges. Thresholds that were fitted on real files are of one rule.
    """
    seen = model.get("validation") or {}
    if decision := seen.get("decision"):
        if decision["rule"] != rule:
            return ""
        fake, undecided = decision["reals_called_fake"], decision["reals_undecided"]
        return f"of {decision['reals']} real files, {fake} called fake and {undecided} undecided; fakes were not used"
    if "reals_called_fake" in seen:
        fakes = words(seen["fakes_found"], seen["fakes"], "fakes found", seen["fake_families"])
        reals = words(seen["reals_called_fake"], seen["reals"], "reals called fake", seen["real_families"])
        return f"{fakes}; {reals}"
    if "tpr" in seen and "tnr" in seen:
        rates = f"{percent(seen['tpr'])} of the fakes found; {percent(1 - seen['tnr'])} of the reals called fake"
        return f"{rates}; of how many, the model does not say"
    return ""


def limit_rows(v: Verdict, picture: bool) -> list[LimitRow]:
    """What a verdict needs, beside what this input gave; empty where it could not be read."""
    if v.reason == "unreadable":
        return []
    needed, found = v.thresholds.min_faces, len(v.faces)
    few = v.reason in ("no_face", "too_few_faces")
    rows = [LimitRow("Faces in the picture" if picture else "Faces found", str(found), f"at least {needed}", "–", few)]
    for measure, (limit, reason) in LIMITS.items():
        if measure not in v.measured:
            continue
        name, decimals = MEASURES[measure]
        of = v.measured[measure]
        wanted, beyond = "no limit known", "–"
        bound = getattr(v.limits, limit)
        if bound is not None:
            wanted = f"at {'most' if limit.startswith('max') else 'least'} {bound:.{decimals}f}"
            beyond = percent(of.beyond or 0.0)
        broken = v.limit == limit if v.limit else v.reason == reason
        rows.append(LimitRow(name, f"{of.median:.{decimals}f}", wanted, beyond, broken))
    return rows


def elsewhere(v: Verdict) -> list[tuple[str, str]]:
    """The probability where fakes are rarer than every second file; empty without a calibration."""
    if not v.calibration or v.probability is None:
        return []
    return [(words, number(float(at_prior([v.probability], prior)[0]))) for prior, words in PRIORS]


def percent(value: float) -> str:
    """.004 → <1 %, .996 → >99 %: rounding never says none or all."""
    if 0 < value < 0.01:
        return "<1 %"
    if 0.99 < value < 1:
        return ">99 %"
    return f"{100 * value:.0f} %"


def share(value: float, threshold: float) -> tuple[str, str]:
    """A share of faces and the threshold that it is compared with, in % with as many decimals as tell them apart."""
    for decimals in range(4):
        pair = f"{100 * value:.{decimals}f} %", f"{100 * threshold:.{decimals}f} %"
        if pair[0] != pair[1] or value == threshold:
            break
    return (percent(value), percent(threshold)) if decimals == 0 else pair


def number(value: float | None) -> str:
    """A probability with two decimals; as with `percent`, .999 is >0.99; a dash where there is none."""
    if value is None:
        return "–"
    if 0 < value < 0.005:
        return "<0.01"
    if 0.995 <= value < 1:
        return ">0.99"
    return f"{value:.2f}"


def size(count: int) -> str:
    """1234567 → 1.2 MB (1,234,567 bytes)."""
    value, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{count} bytes" if unit == "bytes" else f"{value:.1f} {unit} ({count:,} bytes)"
