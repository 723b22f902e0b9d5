"""`mri_image`: apply a registered perceptual function to two batches of pictures."""

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

ROUNDER = 1.5 * 2.0**32  # adding and subtracting it in float64 rounds to 2^-20


@torch.no_grad()
def mri_image(original: Tensor, face: Tensor, metric: str = "ssim", **options: Any) -> Tensor:
    """The MRI image f(original, face) (MRI-GAN, Eq. 8 for SSIM): black where the face equals the original.

    Args:
        original: (N, 3, H, W), uint8 or float in 0...255, on any device. The MRI of float64 pictures is computed in
            float64 (except by learned metrics), which takes twice as long.
        face: the same face in the fake clip (or the original again), with the same shape and device.
        metric: a name in `METRICS`.
        options: of the metric; an option that is None is not given.

    Returns:
        (N, 3, H, W) float32 or float64, clipped to 0...255; exactly 0 for identical pictures.

    Raises:
        ConfigError: unknown metric or option, or the shapes differ.
        InputError: the pictures are too small for the metric.
        ModelError: a learned metric's weight file is missing or does not fit.
    """
    return _chosen(original, face, metric, options)(original, face).clamp_(0, 255)


@torch.no_grad()
def stored_mri(original: Tensor, face: Tensor, metric: str = "ssim", **options: Any) -> Tensor:
    """`mri_image` as shards store it: (N, 3, H, W) uint8, equal on every processor.

    The float64 result is rounded to 2^-20 before it is rounded to an integer. Then the last bits have no effect, even
    if the exact value is halfway between two integers. SSIM on a CPU runs in float32 (see `stored_ssim`) at a third of
    the cost; about one pixel in 3,000 differs by 1 from the exact result. Learned metrics run in float32 and can differ
    by 1 between processors.

    Args and errors: as `mri_image`.
    """
    function = _chosen(original, face, metric, options)
    on_cpu = original.device.type == "cpu"
    if on_cpu and function.func is ssim_mri:
        return stored_ssim(original, face)
    # On a CPU one picture at a time: several would not fit into a core's cache.
    size = 1 if on_cpu else len(original)
    out = torch.empty(original.shape, dtype=torch.uint8, device=original.device)
    for start in range(0, len(original), size or 1):
        part = slice(start, start + size)
        image = function(original[part].double(), face[part].double()).double().clamp_(0, 255)
        out[part] = image.add_(ROUNDER).sub_(ROUNDER).round_()
    return out


def _chosen(original: Tensor, face: Tensor, metric: str, options: dict[str, Any]) -> partial[Tensor]:
    """The named metric with its options, after a check of the options and the pictures' shapes."""
    name = metric.replace("_", "-").lower()
    if name not in METRICS:
        fix = f"use one of: {', '.join(METRICS)}"
        raise ConfigError(f"unknown perceptual function {metric!r}", where="mri.metric", fix=fix)
    if original.shape != face.shape or original.ndim != 4:
        raise ConfigError(
            f"the pictures have the shapes {tuple(original.shape)} and {tuple(face.shape)}",
            fix="give two batches (N, 3, H, W) of the same shape",
        )
    given = {key: value for key, value in options.items() if value is not None}
    function = _function(name)
    unknown = given.keys() - inspect.signature(function).parameters.keys()
    if unknown:
        raise ConfigError(f"{name} has no option {', '.join(sorted(unknown))}", where="mri", fix="leave it out")
    return partial(function, **given)


def _function(name: str) -> Callable[..., Tensor]:
    entry = METRICS[name]
    if callable(entry):
        return entry
    module, _, attribute = entry.rpartition(".")
    function: Callable[..., Tensor] = getattr(import_module(f"mrigan.mri.{module}"), attribute)
    return function
