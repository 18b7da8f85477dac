"""Solve inverse problems y = A(x) + noise with a diffusion prior.

The public names; each is imported when it is first used, so that `import reddiff` costs nothing.
"""

import sys
from types import ModuleType

import lazy_loader

_lazily, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


class _Package(ModuleType):
    """Keeps names such as `solve` for the functions, when modules of these names are imported."""

    def __setattr__(self, name: str, value: object) -> None:
        module = isinstance(value, ModuleType) and value.__name__ == f"{__name__}.{name}"
        if not (module and name in _FUNCTIONS):
            super().__setattr__(name, value)


_FUNCTIONS = {"draw", "restore", "solve"}
sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> object:
    """The public names, and `__version__`."""
    if name == "__version__":
        from importlib.metadata import version

        return version("reddiff")
    return _lazily(name)
