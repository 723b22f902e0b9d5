"""Verdicts on videos in a program of one's own:

    python examples/judge_videos.py VIDEO... [--model DIR]

prints a line a video, and the moments at which each person looks most like a fake.
"""

from __future__ import annotations

import argparse

import mrigan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="+")
    parser.add_argument("--model", help="a folder or models:/NAME@ALIAS; default: as mrigan detect")
    options = parser.parse_args()
    model = mrigan.load_model(options.model)
    for verdict in mrigan.detect(options.videos, model):
        score = "no face" if verdict.probability is None else f"score {verdict.probability:.2f}"
        print(f"{verdict.verdict}: {verdict.path} ({verdict.reason or score})")
        for person in verdict.persons:
            faces = [face for face in verdict.faces if face.person == person.person]
            worst = max(faces, key=lambda face: face.prob)
            print(
                f"  person {person.person + 1}: {len(faces)} faces, the highest {worst.prob:.2f} at {worst.time:.1f} s"
            )


if __name__ == "__main__":
    main()
