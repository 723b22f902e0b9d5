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
    was_training = G.training
    G.eval()
    try:
        mri = G(_input_of(G, faces))
    finally:
        G.train(was_training)
    return ((mri.float() + 1) / 2).clamp_(0, 1)


@torch.no_grad()
def predict_as_authors(G: Generator, faces: Tensor) -> Tensor:
    """The MRIs that the detector of MRI-GAN's authors was trained on and expects: `G` in train mode, with dropout, and
    its output in -1...1 stored as a picture, which cuts it at 0 and rounds it to 255 levels.

    The dropout is drawn from the same seed for every face, so that a face has one MRI.

    Args, returns: as `predict_mri`.
    """
    x = _input_of(G, faces)
    was_training = G.training
    G.train()
    try:
        mris = [_seeded(G, face[None]) for face in x]
    finally:
        G.train(was_training)
    mri = torch.cat(mris) if mris else x
    return mri.float().clamp_(0, 1).mul_(255).round_().div_(255)


def _seeded(G: Generator, face: Tensor) -> Tensor:
    with torch.random.fork_rng([face.device] if face.is_cuda else []):
        torch.manual_seed(0)
        return G(face)


def _input_of(G: Generator, faces: Tensor) -> Tensor:
    """`faces` at G's size, in -1...1."""
    x = faces.to(torch.float32)
    if x.shape[-2:] != (G.size, G.size):
        x = F.interpolate(x, (G.size, G.size), mode="bilinear", antialias=True, align_corners=False)
    return x / 127.5 - 1
