"""What a package exports."""

from __future__ import annotations

from types import ModuleType


def public(package: ModuleType) -> set[str]:
    """The names in `__all__`, or without it all but modules and those with an underscore."""
    if hasattr(package, "__all__"):
        return set(package.__all__)
    named = vars(package).items()
    return {k for k, v in named if not k.startswith("_") and not isinstance(v, ModuleType)}
