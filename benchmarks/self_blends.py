"""What a self-blended pair costs in the loader: CPU-ms of one thread, step by step and whole.

    python benchmarks/self_blends.py SHARDS [--pairs 200] [--size 256]

SHARDS: real faces with landmarks (configs/shards/self-blend.yaml).
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from mrigan.data import BlendedShards, PairRecipe, SelfBlends, ShardSet
from mrigan.mri import self_blends
from mrigan.scoring.face_settings import face_settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--size", type=int, default=256, help="px")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    margin = face_settings([args.shards])["margin"]
    shards = BlendedShards(ShardSet.open([args.shards], "train"), margin, PairRecipe())
    samples, spent = SelfBlends(shards, size=args.size, train=True), defaultdict(float)

    def timed(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            started = time.process_time()
            try:
                return step(*given)
            finally:
                spent[name] += time.process_time() - started

        return call

    samples._face = timed("_face", samples._face)  # type: ignore[method-assign]
    self_blends._Window.cut = timed("cut", self_blends._Window.cut)  # type: ignore[method-assign]
    for name in ("self_blend", "_mri", "degrade"):
        setattr(self_blends, name, timed(name, getattr(self_blends, name)))
    planes = np.empty((2, 3, args.size, args.size), np.uint8)
    ids = [2 * i % len(shards) for i in range(args.pairs)]
    started = time.process_time()
    for i in ids:  # one without landmarks gives way to another
        samples.first_good(i, 0, lambda i: samples.decode_into(samples.encoded(i, 0), planes[0], planes[1]))
    whole = time.process_time() - started
    shown = {"_face": "decode, landmarks", "cut": "crop", "self_blend": "blend", "_mri": "MRI",
             "degrade": "JPEG, H.264, size"}  # fmt: skip
    for name, words in shown.items():
        print(f"{words:<20} {1000 * spent[name] / args.pairs:5.1f} CPU-ms")
    print(f"{'a pair':<20} {1000 * whole / args.pairs:5.1f} CPU-ms at {args.size} px")


if __name__ == "__main__":
    main()
