"""Frames on a device: everything between decoding and the stored face, in torch, for `video.device=cuda`.

The same noise, augmentation, distraction, crops and resizing as on the CPU, with the same parameters and the same
random fields: a picture that is made here differs from NumPy's and OpenCV's by one grey level at most, by two (one
pixel in a thousand: by up to eight) where a text's edge is smooth (tests/imaging/test_device.py). A GPU's own
arithmetic has not been measured: see docs/results.md.
"""

from mrigan.imaging.device.pictures import batched, grey, resized, single
from mrigan.imaging.device.steps import treat

__all__ = ["batched", "grey", "resized", "single", "treat"]
