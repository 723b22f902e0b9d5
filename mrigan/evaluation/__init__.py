"""Metrics of faces and videos, the threshold search and the report, all computed from scores; no model is used here.

`__init__.pyi` lists the public names. Each is imported when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
