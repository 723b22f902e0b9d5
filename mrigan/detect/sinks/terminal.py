"""A line per verdict on the terminal, as soon as it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mrigan.detect.inputs import Input
from mrigan.detect.judge import Judged
from mrigan.detect.options import PAPERS_RULE, Outputs
from mrigan.detect.sinks.sink import STDOUT, Sink
from mrigan.detect.verdict import DOUBTS, doubt_in_words
from mrigan.detect.wording import learned, number, share
from mrigan.files import shown
from mrigan.terminal import echo, say


class Lines(Sink):
    """Standard output, or standard error if another output needs that."""

    def __init__(self, inputs: Sequence[Input], outputs: Outputs, to_stderr: bool) -> None:
        super().__init__(inputs, STDOUT, outputs)
        self.is_standard_output = True
        self._print = say if to_stderr else echo

    def add(self, number: int, item: Input, judged: Judged) -> None:
        self._print(verdict_line(judged.verdict))


def verdict_line(v: Mapping[str, Any]) -> str:
    """`real  a.mp4: 3 of 7 faces above .5 (43 %; fake from 50 % on), mean score .44 (not calibrated); the model learned
    from dfdc (412 families)`."""
    return f"{v['verdict']:<9}  {shown(v['path'])}: {_why(v).removesuffix('.')}; {learned(v)}"


def _why(v: Mapping[str, Any]) -> str:
    if v["reason"] == "unreadable":
        return str(v["not_analysed"][0]["detail"])
    faces, thresholds, rule = v["faces"], v["thresholds"], v["rule"]
    if v["reason"]:
        few = f"only {len(faces)} {'face' if len(faces) == 1 else 'faces'} found"
        if v["reason"] in DOUBTS:
            return doubt_in_words(v)
        return {"no_face": "no face found", "too_few_faces": few}[v["reason"]]
    above = sum(face["prob"] > thresholds["frame"] for face in faces)
    limit = f"{thresholds['frame']:g}".replace("0.", ".", 1)
    counted = f"{above} of {len(faces)} faces above {limit}"
    if rule["name"] == PAPERS_RULE:
        reached, needed = share(v["fraction"], thresholds["fraction"])
        counted += f" ({reached}; fake from {needed} on)"
    else:
        name = rule["name"].replace("_", " ")
        counted = f"{name} {short(rule['score'])} (fake from {short(rule['threshold'])} on); {counted}"
    if v["calibration"]:
        return f"{counted}, probability {short(v['probability'])} (calibrated)"
    return f"{counted}, mean score {short(v['probability'])} (not calibrated)"


def short(probability: float) -> str:
    """Two decimals, without the zero before them: .44, <.01, 1.00."""
    return number(probability).replace("0.", ".", 1)
