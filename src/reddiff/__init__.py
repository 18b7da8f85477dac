"""Solve inverse problems y = A(x) + noise with a diffusion prior.

The public names; each is imported when it is first used, so that `import reddiff` costs nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
