"""What videos exist: a reader per data set and own manifests; families, people, splits, and their audit.

What it offers is listed in `__init__.pyi`, and imported when it is first used: a verdict needs little of it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
