"""How often a cut fake is paired with another moment, how many pairs of aligned fakes are lost, and what that costs.

    python benchmarks/alignment.py CATALOG [--clips N]

The fakes of a catalog that are aligned with their originals, index by index, and clips cut out of them: their frames in
another order, so that the true frame of each moment is known. Frames that a cut clip repeats count as the moment that
they show. `another moment` is the bar: at most 2 % of what is stored.

The cost is CPU time of one thread: reading a fake's wanted frames and their borders alone, and with the evidence.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrigan.catalog import read_catalog
from mrigan.config import FacesConfig, PairsConfig
from mrigan.imaging.picture import grey
from mrigan.video import FaceDetector, PyAvSource, find_faces, follow, read_frames
from mrigan.video.evidence import AROUND
from mrigan.video.geometry import geometries
from mrigan.video.lags import Sight
from mrigan.video.moments import decide
from mrigan.video.points import fake_points, original_points, outside
from mrigan.video.window import Window

DRIFTS = "id60_id61_0003.mp4"  # of Celeb-DF: loses frames on the way, so the truth about it is not its index


def pairs_of_clips(path: Path) -> Iterator[tuple[Path, Path]]:
    """Original and fake."""
    catalog = read_catalog(path)
    for family in catalog.families():
        for fake in family.fakes if family.original else ():
            if not fake.path.endswith(DRIFTS):
                yield catalog.path(family.original), catalog.path(fake)


def cuts(count: int) -> Iterator[tuple[str, np.ndarray]]:
    """Kinds of clips as the indices of the fake's frames that they show."""
    every = np.arange(count)
    yield "aligned", every
    for late in (1, 3, 5, 12, 40):
        yield f"begins {late} late", every[late:]
    yield "begins 3 early", np.concatenate([every[:1].repeat(3), every])
    yield "a frame lost", np.delete(every, count // 2)
    yield "a frame doubled", np.insert(every, count // 2, count // 2)
    yield "ten frames lost", np.delete(every, range(count // 3, count // 3 + 10))
    for theirs, word in ((20, "down"), (20, "near"), (24, "down"), (24, "up"), (30, "down")):
        yield f"25 → {theirs} {word}", converted(count, theirs, word)
    yield "5 % slower", (np.arange(int(count * 1.05)) / 1.05).astype(int)
    yield "15 % slower", (np.arange(int(count * 1.15)) / 1.15).astype(int)
    yield "5 % faster", (np.arange(int(count / 1.05)) * 1.05).astype(int)
    yield "reversed", every[::-1]
    yield "another take", every[count // 2 + 5 :]  # against the first half of the original


def converted(count: int, rate: int, rounding: str) -> np.ndarray:
    """The frames that a converter from 25 to `rate` a second takes, as ffmpeg's filter `fps` does."""
    twice = {"down": 0, "near": 25, "up": 49}[rounding]
    place = (2 * rate * np.arange(count) + twice) // 50
    return np.searchsorted(place, np.arange(place[-1] + 1), side="right") - 1


@dataclass
class Seen:
    """The points of an original and of its fake, in their first geometry."""

    original: Sight
    masks: dict[int, np.ndarray]
    fake: list[np.ndarray]

    def counts(self, kind: str, shown: np.ndarray) -> Counter[str]:
        """What is stored of one cut clip."""
        half = len(self.fake) // 2
        wanted = [i for i in self.original.points if kind != "another take" or i < half]
        original, cut = Sight(), Sight()
        for i in wanted:
            original.add(i, self.original.times[i], self.original.points[i])
        pace = int(kind.split()[2]) / 25 if "→" in kind else 1.0
        rate = pace / (self.original.times[wanted[-1]] / wanted[-1]) if wanted[-1] else 25.0 * pace
        for j, source in enumerate(shown.tolist()):
            cut.add(j, j / rate, self.fake[source])
        targets = decide(original, self.masks, cut, complete=True).targets
        there = set(shown.tolist())
        return Counter(
            there=sum(i in there for i in wanted),
            stored=len(targets),
            wrong=sum(shown[j] != i for i, j in targets.items()),
        )


def look(original: Path, fake: Path, detector: FaceDetector) -> Seen:
    """Read both clips."""
    faces = find_faces(read_frames(original), detector)
    table = faces.by_frame()
    frames = {frame.index: frame for frame in read_frames(original, indices=table)}
    decoded = PyAvSource().decode(fake)
    first = next(decoded)
    image = next(iter(frames.values())).image
    geometry = next(geometries(grey(image), grey(first.frame().image)))
    seen = Seen(Sight(), {}, [fake_points(first), *(fake_points(each) for each in decoded)])
    del seen.fake[faces.frames * FacesConfig().every :]  # some fakes are longer than their original
    for index, frame in frames.items():
        seen.original.add(index, frame.time, original_points(grey(frame.image), geometry))
        boxes = [geometry.moved(face.box) for face in table[index]]
        seen.masks[index] = outside(boxes, geometry.size, AROUND)
    return seen


def cost(original: Path, fake: Path) -> tuple[float, float]:
    """CPU-seconds of reading a fake's wanted frames alone, and of pairing them with all evidence."""
    frames = list(read_frames(original))
    wanted = [frame.index for frame in frames]
    start = time.process_time()
    window = Window(PyAvSource(), fake, wanted)
    for index in wanted:
        found = window.get(index)
        if found is not None:
            found.frame()
    alone = time.process_time() - start
    start = time.process_time()
    with follow([fake], PairsConfig(), wanted) as (clip,):
        for frame in frames:
            clip.pair(frame)
        clip.decide()
    return alone, time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1000, help="at most so many fakes")
    parser.add_argument("catalog", nargs="?", type=Path, help="made by `mrigan catalog scan`")
    options = parser.parse_args()
    if options.catalog is None:
        print("needs real fakes with their originals: give a CATALOG")
        return
    clips = list(pairs_of_clips(options.catalog))[: options.clips]
    detector, totals = FaceDetector(FacesConfig()), dict[str, Counter[str]]()
    for original, fake in clips:
        seen = look(original, fake, detector)
        for kind, shown in cuts(len(seen.fake)):
            totals.setdefault(kind, Counter()).update(seen.counts(kind, shown))
    print(f"{len(clips)} fakes, every 10th frame with a face")
    print(f"{'clips':18}{'frames with a true one':>24}{'stored':>8}{'another moment':>16}")
    for kind, total in totals.items():
        share = f"{total['wrong'] / total['stored']:.1%}" if total["stored"] else "-"
        there = 0 if kind == "another take" else total["there"]
        print(f"{kind:18}{there:24}{total['stored']:8}{total['wrong']:9}{share:>7}")
    alone, with_evidence = (sum(parts) for parts in zip(*(cost(*pair) for pair in clips), strict=True))
    print(f"reading the fakes' wanted frames: {alone:.1f} CPU-s; paired, with all evidence: {with_evidence:.1f} CPU-s")


if __name__ == "__main__":
    main()
