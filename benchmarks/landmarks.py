"""How far landmarks lie from points that people placed, and from MTCNN's; and what a face costs.

    python benchmarks/landmarks.py PICTURES [TEMPLATES.csv] [--most N]

PICTURES: a folder of pictures with a face each. TEMPLATES: points by hand, as the Face Research Lab London Set has
them (file, point, x, y; 189 a face). All distances are parts of the distance between the eyes.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import csv
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from mrigan.config import FacesConfig
from mrigan.video import FaceDetector
from mrigan.video.landmarks import FaceMesh, Landmarks

BY_HAND = {"pupil, left": 0, "pupil, right": 1, "mouth, left": 87, "mouth, right": 93, "chin": 129}
CHIN = 152  # in the mesh


def hand_points(path: Path | None) -> dict[str, dict[int, tuple[float, float]]]:
    points: dict[str, dict[int, tuple[float, float]]] = defaultdict(dict)
    if path is not None:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                points[row["file"]][int(row["point"])] = float(row["x"]), float(row["y"])
    return points


def named(found: Landmarks) -> dict[str, np.ndarray]:
    left, right, _, *mouth = found.five()
    return dict(zip(BY_HAND, (left, right, *mouth, found.points[CHIN, :2]), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("templates", type=Path, nargs="?")
    parser.add_argument("--most", type=int, default=200, help="pictures")
    args = parser.parse_args()
    detector, mesh, templates = FaceDetector(FacesConfig()), FaceMesh(), hand_points(args.templates)
    paths = [path for path in sorted(args.pictures.rglob("*.[jp][pn]g")) if not templates or path.name in templates]
    apart: dict[str, list[float]] = defaultdict(list)
    presence, cpu_s, faceless = [], 0.0, 0
    for path in paths[: args.most]:
        image = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        faces = detector.detect([image])[0]
        if not faces:
            faceless += 1
            continue
        started = time.process_time()
        found = mesh(image, faces[0].box)
        cpu_s += time.process_time() - started
        presence.append(found.presence)
        five = np.array(faces[0].points)
        eyes = np.linalg.norm(five[0] - five[1])
        for name, distance in zip(("eye, left", "eye, right", "nose", "mouth, left", "mouth, right"),
                                  np.linalg.norm(found.five() - five, axis=1), strict=True):  # fmt: skip
            apart[f"MTCNN: {name}"].append(distance / eyes)
        points = templates.get(path.name, {})
        for name, place in named(found).items() if BY_HAND["chin"] in points else ():
            by_hand = np.array(points[BY_HAND[name]])
            apart[f"by hand: {name}"].append(float(np.linalg.norm(place - by_hand) / eyes))
    print(f"{len(presence)} faces, {faceless} pictures without one; presence {min(presence):.0f} to "
          f"{max(presence):.0f}; {1000 * cpu_s / len(presence):.1f} CPU-ms a face")  # fmt: skip
    print(f"{'distance from':<24} median   95 %")
    for name, values in apart.items():
        print(f"{name:<24} {np.median(values):6.3f} {np.quantile(values, 0.95):6.3f}")


if __name__ == "__main__":
    main()
