"""Predict MRIs of faces by a trained G."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mrigan.models.generator import Generator


@torch.no_grad()
def predict_mri(G: Generator, faces: Tensor) -> Tensor:
    """Predict MRIs by `G` in eval mode (dropout off); its mode is restored afterwards.

    Args:
        G: a trained generator.
        faces: (N, 3, H, W) uint8, or float in 0...255, on G's device; if of another size than G's they are resized
            (bilinear, antialiased).

    Returns:
        (N, 3, G.size, G.size) float32 in 0...1, 0 = unchanged. Not an inference tensor, so it can be trained on.
    """
    x = faces.to(torch.float32)
    if x.shape[-2:] != (G.size, G.size):
        x = F.interpolate(x, (G.size, G.size), mode="bilinear", antialias=True, align_corners=False)
    x = x / 127.5 - 1
    was_training = G.training
    G.eval()
    try:
        mri = G(x)
    finally:
        G.train(was_training)
    return ((mri.float() + 1) / 2).clamp_(0, 1)
