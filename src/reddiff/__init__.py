"""Solve inverse problems y = A(x) + noise with a diffusion prior.

Public names are imported on first use, so that `import reddiff` is fast.
"""

import lazy_loader

_lazily, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    """Import a public name on first use, or look up `__version__`."""
    if name == "__version__":
        from importlib.metadata import version

        return version("reddiff")
    return _lazily(name)
