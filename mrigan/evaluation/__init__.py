"""Scores in, figures out: metrics of faces and videos, the threshold search, and the report. Never touches a model.

What it offers is listed in `__init__.pyi`, and imported when it is first used: a verdict needs little of it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
