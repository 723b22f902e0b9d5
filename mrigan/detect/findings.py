"""What was seen in one input."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from mrigan.detect.pictures import Example
from mrigan.detect.verdict import FileIdentity
from mrigan.video import Face

MAX_PEOPLE_SHOWN = 6  # of an input; those with the most faces


@dataclass
class Findings:
    """What was seen in one input.

    Args:
        faces: by frame, then person.
        logits: one a face. measures: `side` (px), `sharpness`, `colour`, and `distance` where the model knows what it
            has seen; one of each a face.
        frames: pictures looked at; `empty` of them without a face.
        total: pictures that the input says it has, None where it does not say.
        size: (w, h) in px as displayed.
        crowded: pictures in which as many faces were found as are looked at; there may have been more.
        examples: the most suspicious faces first.
        scenes: the most suspicious face of each of the `MAX_PEOPLE_SHOWN` with the most faces, with where it was.
        strips: thumbnails of the same people in order of time, one list a person.
        error: why the input, or the rest of it, cannot be read; "" if all is well.
        damaged: which frames inside the file are damaged; "" if none.
        others: a line on each video stream that was not looked at.
        changes: seconds and (w, h) of the first frame, and of each frame that has another size than the one before.
        file: its `fingerprint` when the look began; None where it was not there.
        each: (faces, K), the logits of an ensemble's networks; None where there is one network.
    """

    faces: list[Face] = field(default_factory=list)
    logits: list[float] = field(default_factory=list)
    measures: dict[str, np.ndarray] = field(default_factory=dict)
    frames: int = 0
    empty: int = 0
    total: int | None = None
    size: tuple[int, int] = (0, 0)
    crowded: int = 0
    examples: list[Example] = field(default_factory=list)
    scenes: list[Example] = field(default_factory=list)
    strips: list[list[Example]] = field(default_factory=list)
    error: str = ""
    damaged: str = ""
    others: tuple[str, ...] = ()
    changes: list[tuple[float, tuple[int, int]]] = field(default_factory=list)
    file: FileIdentity | None = None
    each: np.ndarray | None = None

    @property
    def probs(self) -> list[float]:
        """One a face, 0 (real) to 1 (fake)."""
        return [1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x)) for x in self.logits]
