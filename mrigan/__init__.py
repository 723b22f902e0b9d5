"""Mrigan trains and runs DeepFake-video detectors. Rooms, in the order that data flows:

videos → catalog → families → faces and MRIs → tar shards → epoch plan → batches → G/D and detector → MLflow → verdict

For a program of one's own (docs/python.md); torch is imported when one of them is first used:

    mrigan.load_model(model)      a detector; `.predict(faces)` gives the probability of each face
    mrigan.detect(paths, model)   a verdict on each video or picture
    mrigan.mri_image(x, y)        the MRIs of faces and their originals
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrigan.detect.model import detect, load_model
    from mrigan.mri import mri_image

__version__ = "0.1.0"
__all__ = ["__version__", "detect", "load_model", "mri_image"]


def __getattr__(name: str) -> Any:
    if name == "detect":  # the room, which can be called
        return import_module("mrigan.detect")
    if name == "load_model":
        return import_module("mrigan.detect").load_model
    if name == "mri_image":
        return import_module("mrigan.mri").mri_image
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
