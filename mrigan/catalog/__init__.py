"""Lists the videos of data sets and manifests, groups them into families, splits them, and audits the splits.

`__init__.pyi` lists the public names. Each is imported when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
