"""How often stills of a fake are taken for the picture that they were made from, rightly and wrongly.

    python benchmarks/stills.py CATALOG

Frames 60 and 100 of each fake of the catalog stand for stills. Each is shown beside its own moment of the original, as
it is, as a JPEG of quality 60, cut out around the face, and moved by some px; and beside later moments.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from mrigan.catalog import Catalog, read_catalog
from mrigan.config import PairsConfig, ShardsConfig, load_config
from mrigan.errors import InputError
from mrigan.video import FaceDetector, Frame, crop, read_frames
from mrigan.video.still_pairs import FakeStill

FRAMES = (60, 100)
LATER = (1, 2, 3, 5, 10, 25)  # frames
MOVED = (1, 2, 3, 6)  # px
CUT = 0.15  # of the face's box on each side

Picture = tuple[np.ndarray, list[tuple[float, ...]]]  # with its faces


def pictures(catalog: Catalog, detector: FaceDetector) -> Iterator[tuple[str, Picture, np.ndarray]]:
    """What is done, the original's still with its faces, the fake's still."""
    for family in catalog.families():
        for fake in family.fakes if family.original else []:
            assert family.original is not None
            wanted = {frame + later for frame in FRAMES for later in (0, *LATER)}
            try:
                frames = {f.index: f.image for f in read_frames(catalog.path(family.original), indices=wanted)}
                fakes = {f.index: f.image for f in read_frames(catalog.path(fake), indices=FRAMES)}
            except InputError:
                continue
            boxes = {index: [d.box for d in detector.detect([image])[0]] for index, image in frames.items()}
            for index in fakes.keys() & frames.keys():
                image, original = fakes[index], (frames[index], boxes[index])
                yield "its own moment", original, image
                jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
                yield "its own moment, JPEG of quality 60", original, cv2.imdecode(jpeg, 1)[..., ::-1].copy()
                for px in MOVED:
                    yield f"its own moment, moved by {px} px", original, np.roll(image, px, axis=1)
                for later in LATER:
                    if index + later in frames:
                        yield f"{later} frames later", (frames[index + later], boxes[index + later]), image
                if boxes[index] and image.shape == original[0].shape:
                    yield from cut_out(boxes[index][0], frames, index, image)


def cut_out(box: tuple[float, ...], frames: dict[int, np.ndarray], index: int,
            image: np.ndarray) -> Iterator[tuple[str, Picture, np.ndarray]]:  # fmt: skip
    """The same, of the face alone."""
    moments = {"its own moment": 0, **{f"{later} frames later": later for later in (5, 25)}}
    for name, later in moments.items():
        if index + later in frames:
            face = crop(frames[index + later], box, CUT).copy()
            yield f"face cut out, {name}", (face, [(0, 0, face.shape[1], face.shape[0])]), crop(image, box, CUT).copy()
    left = (box[0] + 3, box[1], box[2] + 3, box[3])
    face, moved = crop(frames[index], box, CUT).copy(), crop(image, left, CUT).copy()
    if face.shape == moved.shape:
        yield "face cut out, moved by 3 px", (face, [(0, 0, face.shape[1], face.shape[0])]), moved


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalog", nargs="?", type=Path, help="made by `mrigan catalog scan`")
    options = parser.parse_args()
    if options.catalog is None:
        print("needs real fakes with their originals: give a CATALOG")
        return
    detector = FaceDetector(load_config(ShardsConfig, "shards/pairs.yaml").faces)
    paired: dict[str, list[bool]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fake.png"
        for what, (original, boxes), fake in pictures(read_catalog(options.catalog), detector):
            cv2.imwrite(str(path), fake[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 0])
            found = FakeStill(path, PairsConfig(), boxes).pair(Frame(0, 0.0, original))
            paired[what].append(not found.reason)
    for what, answers in paired.items():
        print(f"{what}: {sum(answers)} of {len(answers)} taken for a pair")


if __name__ == "__main__":
    main()
