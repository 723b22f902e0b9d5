"""A family's treatment on a device: the steps of `mrigan.imaging.treatment`, on the pictures of one frame."""

from __future__ import annotations

from functools import lru_cache

from torch import Tensor

from mrigan.imaging.device.augmentation import AUGMENTATIONS
from mrigan.imaging.device.distraction import distract
from mrigan.imaging.device.noise import NOISES, sent
from mrigan.imaging.noise import uniform_field
from mrigan.imaging.treatment import Treatment, frame_generator

FIELDS = 2  # kept on the device: a frame's original and its fakes, of one size or of two


def treat(treatment: Treatment, images: Tensor, frame: int) -> Tensor:
    """Treat pictures that show one frame: an original's and its fakes'.

    Args:
        images: (N, 3, H, W) uint8 RGB on any device, left as they are.
        frame: its index in the original.

    Returns:
        (N, 3, H, W) uint8, of another size after a rescale; see the package for how near to the CPU's.
    """
    for number, step in enumerate(treatment.steps):
        if step.kind == "augmentation":
            images = AUGMENTATIONS[step.name](images, **step.settings)
        elif step.kind == "noise":
            place = treatment.seed, treatment.family, number, frame
            field = _field(place, (images.shape[-2], images.shape[-1], 3), str(images.device))
            images = NOISES[step.name](images, field, **step.settings)
        else:
            rng = frame_generator(treatment.seed, treatment.family, number, frame)
            images = distract(images, step.name, rng, frame, **step.settings)
    return images


@lru_cache(maxsize=FIELDS)
def _field(place: tuple[int, str, int, int], shape: tuple[int, int, int], device: str) -> Tensor:
    return sent(uniform_field(frame_generator(*place), shape), device)
