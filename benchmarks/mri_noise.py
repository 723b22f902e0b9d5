"""How dark a common noise makes an MRI: the mean MRI of pairs as they are, and with each noise on both sides.

    python benchmarks/mri_noise.py [CATALOG] [FAMILIES]

Without a catalog: the embedded sample. One frame in thirty; what `recipe.mri_of` chooses between.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from mrigan.catalog import Catalog, read_catalog, scan_catalog
from mrigan.config import ShardsConfig, load_config
from mrigan.imaging.methods import Die
from mrigan.imaging.recipe import draw_step
from mrigan.imaging.treatment import METHODS
from mrigan.mri import mri_image
from mrigan.sample import make_sample
from mrigan.video import FaceDetector, Treatment, crop, find_faces, follow, read_frames, resize_face


def means(catalog: Catalog, families: int) -> dict[str, list[float]]:
    """Mean MRI of each pair of faces, 0..255, by noise; "" is the pair as decoded."""
    config = load_config(ShardsConfig, "shards/pairs.yaml")
    faces, detector = config.faces, FaceDetector(config.faces)
    noises = {name: Treatment(0, "noise", (draw_step("noise", name, Die(0, name)),)) for name in METHODS["noise"]}
    found: dict[str, list[float]] = defaultdict(list)
    for family in [f for f in catalog.families() if f.original and f.fakes][:families]:
        assert family.original is not None
        path = catalog.path(family.original)
        table = find_faces(read_frames(path, every=30), detector).by_frame()
        with follow([catalog.path(fake) for fake in family.fakes], config.pairs, table) as clips:
            for frame in read_frames(path, indices=table):
                for paired in (clip.pair(frame) for clip in clips):
                    if paired.geometry is None or paired.original is None or paired.fake is None:
                        continue
                    boxes = [paired.geometry.box(face.box) for face in table[frame.index]]
                    for name, noise in {"": Treatment(0, "", ()), **noises}.items():
                        pair = [noise.apply(picture, frame.index) for picture in (paired.original, paired.fake)]
                        for box in filter(None, boxes):
                            cut = [resize_face(crop(p, box, faces.margin), faces.size) for p in pair]
                            a, b = (torch.from_numpy(face).permute(2, 0, 1)[None] for face in cut)
                            found[name].append(float(mri_image(a, b).mean()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalog", nargs="?", type=Path)
    parser.add_argument("families", nargs="?", type=int, default=1_000_000, help="at most so many")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        catalog = read_catalog(options.catalog) if options.catalog else scan_catalog("dfdc", make_sample(temporary))[0]
        found = means(catalog, options.families)
    clean = float(np.mean(found[""]))
    print(f"as decoded: {clean:.1f} of 255 ({len(found[''])} pairs of faces)")
    for name in METHODS["noise"]:
        mean = float(np.mean(found[name]))
        print(f"{name}: {mean:.1f}, {clean / mean:.1f} times darker")


if __name__ == "__main__":
    main()
