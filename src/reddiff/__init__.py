"""Solve inverse problems y = A(x) + noise with a diffusion prior.

The public names; each is imported when it is first used, so that `import reddiff` costs nothing.
"""

import lazy_loader

_lazily, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    """The public names, and `__version__`."""
    if name == "__version__":
        from importlib.metadata import version

        return version("reddiff")
    return _lazily(name)
