"""`mri_image`: one of the registered perceptual functions, applied to two batches of pictures."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from mrigan.errors import ConfigError
from mrigan.mri.metrics import METRICS
from mrigan.mri.ssim import ssim_mri, stored_ssim

COARSE = 1.5 * 2.0**32  # what is added to it in float64 is rounded to 2^-20


@torch.no_grad()
def mri_image(original: Tensor, face: Tensor, metric: str = "ssim", **options: Any) -> Tensor:
    """The MRI image f(original, face) (MRI-GAN, Eq. 8 for SSIM): black where the face is as in the original.

    Args:
        original: (N, 3, H, W), uint8 or float in 0...255, on any device. Of float64 pictures the MRI is computed in
            float64 (by learned metrics in float32 all the same), at twice the cost.
        face: the same face in the fake clip (or the original again), of the same shape, on the same device.
        metric: a name in `METRICS`.
        options: of the metric; one that is None counts as not given.

    Returns:
        (N, 3, H, W) float32, or float64, in 0...255, clipped; exactly 0 for identical pictures.

    Raises:
        ConfigError: no such metric or option, or the shapes differ.
        InputError: the pictures are too small for the metric.
        ModelError: a learned metric's weight file is missing or does not fit.
    """
    return _chosen(original, face, metric, options)(original, face).clamp_(0, 255)


@torch.no_grad()
def stored_mri(original: Tensor, face: Tensor, metric: str = "ssim", **options: Any) -> Tensor:
    """`mri_image` as shards store it: (N, 3, H, W) uint8, the same on every processor.

    Computed in float64 and rounded to 2^-20 before it is rounded to a whole number: then last bits decide nothing, not
    even where the exact value is halfway between two numbers. SSIM on a CPU runs in float32 (see `stored_ssim`), at a
    third of the cost: of the exact one's pixels about one in 3,000 is 1 off. Learned metrics run in float32, too, and
    can differ by 1 between processors.

    Args, raises: as `mri_image`.
    """
    function = _chosen(original, face, metric, options)
    on_cpu = original.device.type == "cpu"
    if on_cpu and function.func is ssim_mri:
        return stored_ssim(original, face)
    # On a CPU one by one: of more pictures nothing stays in a core's cache
    size = 1 if on_cpu else len(original)
    out = torch.empty(original.shape, dtype=torch.uint8, device=original.device)
    for start in range(0, len(original), size or 1):
        part = slice(start, start + size)
        image = function(original[part].double(), face[part].double()).double().clamp_(0, 255)
        out[part] = image.add_(COARSE).sub_(COARSE).round_()
    return out


def _chosen(original: Tensor, face: Tensor, metric: str, options: dict[str, Any]) -> partial[Tensor]:
    """The metric of that name with its options, once they and the pictures' shapes are right."""
    name = metric.replace("_", "-").lower()
    if name not in METRICS:
        raise ConfigError(f"no perceptual function {metric!r}", where="mri.metric", fix=f"one of: {', '.join(METRICS)}")
    if original.shape != face.shape or original.ndim != 4:
        raise ConfigError(
            f"pictures of shapes {tuple(original.shape)} and {tuple(face.shape)}",
            fix="give two batches (N, 3, H, W) of the same shape",
        )
    given = {key: value for key, value in options.items() if value is not None}
    function = _function(name)
    unknown = given.keys() - inspect.signature(function).parameters.keys()
    if unknown:
        raise ConfigError(f"{name} has no option {', '.join(sorted(unknown))}", where="mri", fix="leave it out")
    return partial(function, **given)


def _function(name: str) -> Callable[..., Tensor]:
    module, _, function = METRICS[name].rpartition(".")
    found: Callable[..., Tensor] = getattr(import_module(f"mrigan.mri.{module}"), function)
    return found
