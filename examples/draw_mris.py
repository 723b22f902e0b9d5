"""The MRI of a face and its forgery: where they differ perceptually.

    python examples/draw_mris.py ORIGINAL.png FAKE.png OUT.png

The two pictures show the same face, cut out by the same box. The original against itself is black.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np
import torch

import mrigan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("original")
    parser.add_argument("fake")
    parser.add_argument("out")
    options = parser.parse_args()
    original, fake = (cv2.imread(path) for path in (options.original, options.fake))
    pair = torch.from_numpy(np.stack([original, fake])).permute(0, 3, 1, 2)  # (2, 3, H, W), uint8
    mri = mrigan.mri_image(pair[:1], pair[1:])  # (1, 3, H, W), 0…255, float32
    picture = mri[0].permute(1, 2, 0).round().byte().numpy()
    cv2.imwrite(options.out, np.hstack([original, fake, picture]))
    print(f"{options.out}: original, fake, MRI; mean of the MRI {mri.mean():.1f} of 255")


if __name__ == "__main__":
    main()
