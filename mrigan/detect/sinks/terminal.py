"""A line per verdict on the terminal, as soon as it is known."""

from __future__ import annotations

from collections.abc import Sequence

from mrigan.detect.inputs import Input
from mrigan.detect.judge import Judged
from mrigan.detect.options import PAPERS_RULE, Outputs
from mrigan.detect.sinks.sink import STDOUT, Sink
from mrigan.detect.verdict import Verdict
from mrigan.detect.wording import learned, number, share, why_not_judged
from mrigan.files import shown
from mrigan.terminal import echo, say
from mrigan.text import counted


class Lines(Sink):
    """Standard output, or standard error if another output needs that."""

    def __init__(self, inputs: Sequence[Input], outputs: Outputs, to_stderr: bool) -> None:
        super().__init__(inputs, STDOUT, outputs)
        self.is_standard_output = True
        self._print = say if to_stderr else echo

    def add(self, number: int, item: Input, judged: Judged) -> None:
        self._print(verdict_line(judged.verdict))


def verdict_line(v: Verdict) -> str:
    """`real  a.mp4: 3 of 7 faces above .5 (43 %; fake from 50 % on), mean score .44 (not calibrated); the model learned
    from dfdc (412 families)`."""
    return f"{v.verdict:<9}  {shown(v.path)}: {_why(v).removesuffix('.')}; {learned(v)}"


def _why(v: Verdict) -> str:
    if v.reason == "unreadable":
        return v.gaps[0].detail
    faces, thresholds, rule = v.faces, v.thresholds, v.rule
    if v.reason == "uncertain":
        low, high = short(rule.real_below), short(rule.threshold)
        return (
            f"{rule.words} {short(rule.score)} of {counted(len(faces), 'face')} (real below {low}, fake from {high} on)"
        )
    if v.reason:
        if v.limit:
            return why_not_judged(v)
        return f"only {counted(len(faces), 'face')} found" if faces else "no face found"
    above = sum(face.prob > thresholds.frame for face in faces)
    limit = f"{thresholds.frame:g}".replace("0.", ".", 1)
    above_limit = f"{above} of {len(faces)} faces above {limit}"
    if rule.name == PAPERS_RULE:
        reached, needed = share(v.fraction or 0.0, thresholds.fraction)
        above_limit += f" ({reached}; fake from {needed} on)"
    else:
        above_limit = f"{rule.words} {short(rule.score)} (fake from {short(rule.threshold)} on); {above_limit}"
    if v.calibration:
        return f"{above_limit}, probability {short(v.probability)} (calibrated)"
    return f"{above_limit}, mean score {short(v.probability)} (not calibrated)"


def short(probability: float | None) -> str:
    """Two decimals, without the zero before them: .44, <.01, 1.00."""
    return number(probability).replace("0.", ".", 1)
