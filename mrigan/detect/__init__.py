"""A video in, a verdict out: JSON, report page, the MLflow pyfunc. `mrigan.detect(paths)` calls this very room.

`__init__.pyi` lists the public names. Each is imported when it is first used.
"""

import sys
from inspect import Signature, signature
from types import ModuleType
from typing import Any

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


class _Room(ModuleType):
    """A module that can be called: the function `mrigan.detect` and the package of this name are one."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.detect(*arguments, **options)

    @property
    def __signature__(self) -> Signature:
        return signature(self.detect)


sys.modules[__name__].__class__ = _Room
