"""A perceptual function of one's own: where do a face and its forgery differ, for SSIM and for it?

    python examples/own_metric.py ORIGINAL.png FAKE.png OUT.png

The two pictures show the same face, cut out by the same box. OUT shows them with both MRIs.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np
import torch
from torch.nn.functional import avg_pool2d

import mrigan
from mrigan.mri import METRICS


def blurred_difference(original: torch.Tensor, face: torch.Tensor, side: int = 9) -> torch.Tensor:
    """|a - b|, averaged over boxes of `side` px: (N, 3, H, W) in 0...255, 0 where the pictures are equal."""
    return avg_pool2d((original.float() - face.float()).abs(), side, stride=1, padding=side // 2)


METRICS["blurred-difference"] = blurred_difference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("original", "fake", "out"):
        parser.add_argument(name)
    options = parser.parse_args()
    pictures = [cv2.imread(path) for path in (options.original, options.fake)]
    pair = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)  # (2, 3, H, W), uint8
    for name in ("ssim", "blurred-difference"):
        mri = mrigan.mri_image(pair[:1], pair[1:], name)  # (1, 3, H, W), 0…255, float32
        pictures.append(mri[0].permute(1, 2, 0).round().byte().numpy())
        print(f"{name}: mean {mri.mean():.1f} of 255")
    cv2.imwrite(options.out, np.hstack(pictures))


if __name__ == "__main__":
    main()
