"""A set has the same bytes on processors of other instruction sets, as far as libraries can be told to do without some.

What a build does to pixels and boxes is done again in a process that has neither AVX2 nor what came after it.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from skimage.data import astronaut

from mrigan.config import load_config
from mrigan.config.shards import ShardsConfig
from mrigan.imaging.methods import Die
from mrigan.imaging.recipe import draw_step
from mrigan.imaging.treatment import METHODS
from mrigan.mri import LEARNED, METRICS, stored_mri
from mrigan.packing import build_shards, plan_shards
from mrigan.video import Treatment
from tests.packing.conftest import PNG, Built, tree

CAPPED = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "OPENCV_CPU_DISABLE": "AVX2,AVX512_SKX"}


def digests() -> dict[str, str]:
    """SHA-1 of what each step makes of a picture: every method of a treatment, every perceptual function."""
    picture, found = np.ascontiguousarray(astronaut()[:301, :403]), {}
    for kind, names in METHODS.items():
        for name in names:
            step = draw_step(kind, name, Die(5, name))
            found[name] = Treatment(5, name, (step,)).apply(picture, 3)
    draw = np.random.default_rng(0)
    noisy = np.clip(picture.astype(int) + draw.integers(-20, 21, picture.shape), 0, 255).astype(np.uint8)
    pair = [torch.from_numpy(image[:256, :256]).permute(2, 0, 1)[None] for image in (picture, noisy)]
    for metric in METRICS:
        if metric not in LEARNED:
            found[metric] = stored_mri(pair[0], pair[1], metric).numpy()
    return {name: hashlib.sha1(np.ascontiguousarray(image).tobytes()).hexdigest() for name, image in found.items()}


def main(catalog: str, out: str) -> None:
    """What the process without the newer instructions does."""
    plan_shards(catalog, load_config(ShardsConfig, "shards/pairs.yaml", PNG), out)
    build_shards(out, workers=1)
    sys.stdout.write(json.dumps(digests()))


def test_a_set_has_the_same_bytes_without_the_newer_instructions(built: Built, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.packing.test_processors", str(built.catalog), str(tmp_path / "shards")]
    done = subprocess.run(words, env={**os.environ, **CAPPED}, check=True, stdout=subprocess.PIPE, timeout=600)
    assert json.loads(done.stdout.splitlines()[-1]) == digests()
    here, there = tree(built.folder), tree(tmp_path / "shards")
    assert here.keys() == there.keys()
    assert [name for name in here if here[name] != there[name]] == []


if __name__ == "__main__":
    main(*sys.argv[1:])
