"""`--only`: select a part of a spec or of results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reddiff.errors import require, require_name

KEYS = ("prior", "task", "noise", "solver", "image")


def chosen(text: str, known: Mapping[str, Iterable[str]], of: str) -> dict[str, set[str]]:
    """Key -> values selected by a text such as `solver=default,task=sr4`.

    Values of one key are alternatives. The label of a grid selects all of its combinations.

    Arguments:
        text: `KEY=VALUE,...` with the keys prior, task, noise, solver and image.
        known: The existing values of each key.
        of: Their origin, for messages: "the spec" or "the results".

    Raises:
        InvalidArgument: If a key or a value is unknown.
    """
    wanted: dict[str, set[str]] = {}
    for part in text.split(","):
        key, sign, value = part.partition("=")
        require(bool(sign), "only", expected="KEY=VALUE,...", got=repr(part))
        require_name(key, KEYS, "only", "a key")
        names = list(known[key])
        value = _number(value) if key == "noise" else value
        grid = set(of_grid(value, names)) if key == "solver" else set()
        if value in names or not grid:
            require_name(value, names, f"only {key}", f"a {key} of {of}")
            grid = {value}
        wanted.setdefault(key, set()).update(grid)
    return wanted


def of_grid(label: str, solvers: Iterable[str]) -> list[str]:
    """The solvers that are combinations of the grid with this label."""
    return [name for name in solvers if name.startswith(f"{label} ") and "=" in name]


def _number(text: str) -> str:
    try:
        return f"{float(text):g}"
    except ValueError:
        return text
