"""The MRI image (MRI-GAN, section 4.3): a perceptual function f of an original face and a related face.

`__init__.pyi` lists the public names. Each is imported when it is first used, and torch with it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
