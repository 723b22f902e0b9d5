"""How often a person's track is torn, and how often one track holds two people.

    python benchmarks/tracks.py LIST.csv [PAIRS]

LIST has the columns `file` (relative to it) and `person`; each file shows that one person throughout. First every clip
by itself: one person is right. Then pairs of clips of two people, put together so that both heads are of one size at
one place: cut, dissolved over 1.2 s, cut after 2 s without a face, and inside a small picture on a still frame; two
persons are right. At last each clip with a white frame in it.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import csv
import itertools
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from mrigan.config import FacesConfig
from mrigan.imaging.picture import scale_to
from mrigan.video import Detection, FaceDetector, read_frames
from mrigan.video.tracks import Tracker

SAMPLES, BEFORE, AFTER, STEP = 20, 7, 3, 0.4  # of a clip; of each in a splice; seconds between two
LONG_SIDE = 640  # px, what frames are shrunk to, so that all clips are in memory
Sample = tuple[np.ndarray, list[Detection]]


def clip(path: Path, detector: FaceDetector) -> list[Sample]:
    """The first samples of a clip that show one face."""
    frames = itertools.islice(read_frames(path, every=10), SAMPLES)
    images = [scale_to(image, tuple(round(side * min(LONG_SIDE / max(image.shape), 1)) for side in image.shape[1::-1]))
              for image in (frame.image for frame in frames)]  # fmt: skip
    return [(image, found) for image, found in zip(images, detector.detect(images), strict=True) if len(found) == 1]


def moved(sample: Sample, matrix: np.ndarray, size: tuple[int, int], onto: np.ndarray | None = None) -> Sample:
    """A sample, scaled and shifted into a picture of `size`."""
    image = np.zeros((size[1], size[0], 3), np.uint8) if onto is None else onto.copy()
    border = cv2.BORDER_REPLICATE if onto is None else cv2.BORDER_TRANSPARENT
    image = cv2.warpAffine(sample[0], matrix, size, dst=image, flags=cv2.INTER_LINEAR, borderMode=border)
    scale, shift = matrix[0, 0], matrix[:, 2]
    found = [Detection((*(np.array(d.box[:2]) * scale + shift), *(np.array(d.box[2:]) * scale + shift)), d.prob,
                       tuple(tuple(np.array(p) * scale + shift) for p in d.points)) for d in sample[1]]  # fmt: skip
    return image, found


def beside(first: Sample, second: Sample) -> np.ndarray:
    """The scale and shift that bring the second's head to the place and size of the first's."""
    a, b = (np.array(sample[1][0].box) for sample in (first, second))
    scale = np.sqrt(np.prod(a[2:] - a[:2]) / np.prod(b[2:] - b[:2]))
    return np.hstack([np.eye(2) * scale, ((a[:2] + a[2:]) / 2 - scale * (b[:2] + b[2:]) / 2)[:, None]])


def splices(a: list[Sample], b: list[Sample], frame: np.ndarray) -> Iterator[tuple[str, list[Sample], list[int]]]:
    """What is done, the samples, and whose face each sample shows (-1: nobody's, or both)."""
    size = a[0][0].shape[1::-1]
    matrix = beside(a[BEFORE - 1], b[0])
    first, second = a[:BEFORE], [moved(sample, matrix, size) for sample in b[:AFTER]]
    owners = [0] * BEFORE + [1] * AFTER
    yield "cut", first + second, owners
    blank: list[Sample] = [(first[-1][0], [])] * round(2 / STEP)
    yield "cut after 2 s without a face", first + blank + second, [0] * BEFORE + [-1] * len(blank) + [1] * AFTER
    (last, found), (new, others) = first[-1], second[0]
    mixed = [(cv2.addWeighted(last, 1 - part, new, part, 0), found if part < 0.5 else others) for part in (0.33, 0.67)]
    yield "dissolve", first + mixed + second, [0] * BEFORE + [-1, -1] + [1] * AFTER
    scale = 0.4 * frame.shape[0] / size[1]
    small = np.array([[scale, 0, frame.shape[1] * 0.95 - scale * size[0]], [0, scale, frame.shape[0] * 0.05]])
    if small[0, 2] >= 0:
        inset = [moved(sample, small, frame.shape[1::-1], frame) for sample in first + second]
        yield "in a small picture", inset, owners


def tracks(samples: list[Sample]) -> list[int]:
    """The person of each sample's face, -1 where there is none."""
    tracker = Tracker()
    given = [tracker.add(10 * i, STEP * i, found, image) for i, (image, found) in enumerate(samples)]
    return [numbers[0] if numbers else -1 for numbers in given]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", nargs="?", type=Path)
    parser.add_argument("pairs", nargs="?", type=int, default=100)
    options = parser.parse_args()
    if options.list is None:
        print("needs real clips of one person each: give a LIST")
        return
    detector = FaceDetector(FacesConfig())
    with options.list.open(newline="") as file:
        rows = list(csv.DictReader(file))
    clips = [(row["person"], clip(options.list.parent / row["file"], detector)) for row in rows]
    steps = torn = whole = 0
    start, samples = time.process_time(), 0
    for _, seen in clips:
        persons = tracks(seen)
        breaks = sum(x != y for x, y in itertools.pairwise(persons))
        steps, torn, whole, samples = steps + len(seen) - 1, torn + breaks, whole + (not breaks), samples + len(seen)
    print(f"{1000 * (time.process_time() - start) / samples:.1f} CPU-ms a frame")
    print(f"alone: {whole} of {len(clips)} clips have one person; {torn} of {steps} steps tear a track")
    usable = [(person, seen) for person, seen in clips if len(seen) >= BEFORE + AFTER]
    pairs = [(a, b) for (p, a), (q, b) in itertools.permutations(usable, 2) if p != q]
    random.Random(0).shuffle(pairs)
    shared: dict[str, list[bool]] = defaultdict(list)
    for a, b in pairs[: options.pairs]:
        for what, spliced, owners in splices(a, b, usable[0][1][0][0]):
            persons = tracks(spliced)
            of = [{person for person, owner in zip(persons, owners, strict=True) if owner == k} for k in (0, 1)]
            shared[what].append(bool(of[0] & of[1]))
    for what, wrong in shared.items():
        print(f"{what}: in {sum(wrong)} of {len(wrong)} one person holds two people")
    flash = [tracks([*seen[:BEFORE], (np.full_like(seen[0][0], 255), []), *seen[BEFORE:]]) for _, seen in usable]
    kept = sum(given[BEFORE - 1] == given[BEFORE + 1] for given in flash)
    print(f"flash: in {kept} of {len(flash)} the person goes on")


if __name__ == "__main__":
    main()
