"""Probabilities of faces that are cut out already, from a program's own arrays:

    python examples/score_faces.py FOLDER [--model DIR]

reads the pictures of a folder with OpenCV, scores them together, and lists them, the most probable fake first.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2

import mrigan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", help="a folder or models:/NAME@ALIAS; default: as mrigan detect")
    options = parser.parse_args()
    files = sorted(path for path in options.folder.iterdir() if path.suffix in (".jpg", ".png"))
    faces = [cv2.imread(str(path))[..., ::-1] for path in files]  # OpenCV reads BGR, a model takes RGB
    model = mrigan.load_model(options.model)
    probs = model.predict(faces)  # (N,) float32
    for prob, path in sorted(zip(probs, files, strict=True), reverse=True):
        print(f"{prob:.3f}  {path.name}")


if __name__ == "__main__":
    main()
