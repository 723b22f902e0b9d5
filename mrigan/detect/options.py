"""How inputs are looked at."""

from __future__ import annotations

from dataclasses import dataclass

from mrigan.detect.rule import PAPERS

SECONDS_PER_FILE = 3600.0  # a processor takes as long for a film of two hours


@dataclass(frozen=True)
class Options:
    """How inputs are looked at.

    Args:
        pictures: every file is a picture.
        cropped: every picture is one face, cut out already.
        small_faces: look for faces in frames of full size: slower, but finds those below 3 % of the width.
        every: one frame in so many; 0 = as the model was trained.
        device: auto, cpu, cuda or cuda:N.
        precision: fp32, or bf16: up to some times as fast where the processor or GPU multiplies bf16 by itself, and
            probabilities that differ in the third digit.
        rule: that judges a video, one of those that the model stores; `fraction` is the paper's.
        seconds_per_file: a file that takes longer is unreadable; 0 = no limit.
    """

    pictures: bool = False
    cropped: bool = False
    small_faces: bool = False
    every: int = 0
    device: str = "auto"
    precision: str = "fp32"
    rule: str = PAPERS
    seconds_per_file: float = SECONDS_PER_FILE
