"""A video in, a verdict out: JSON, report page, the MLflow pyfunc. `mrigan.detect(paths)` calls this very room."""

import sys
from inspect import signature
from types import ModuleType
from typing import Any

from mrigan.detect.judge import Judge, Judged, detect_paths
from mrigan.detect.model import Model, detect, load_model
from mrigan.detect.options import Options
from mrigan.detect.typed import FaceScore, PersonVerdict, Verdict
from mrigan.detect.verdict import SCHEMA_VERSION

__all__ = [
    "SCHEMA_VERSION",
    "FaceScore",
    "Judge",
    "Judged",
    "Model",
    "Options",
    "PersonVerdict",
    "Verdict",
    "detect",
    "detect_paths",
    "load_model",
]


class _Room(ModuleType):
    """A module that can be called: the function `mrigan.detect` and the package of this name are one."""

    def __call__(self, *arguments: Any, **options: Any) -> list[Verdict]:
        return detect(*arguments, **options)


__signature__ = signature(detect)
sys.modules[__name__].__class__ = _Room
