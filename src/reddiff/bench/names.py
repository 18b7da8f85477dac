"""Names that do not exist, with the nearest that does."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from reddiff.errors import require

FEW = 8  # names that fit a line


def require_name(name: str, known: Iterable[str], argument: str, what: str) -> None:
    """Refuse a name that is not known, and offer the nearest one.

    Arguments:
        name: The name.
        known: The names there are.
        argument: What the name was given for.
        what: The kind of thing it names, with an article.

    Raises:
        InvalidArgument: If it is none of them.
    """
    names = list(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    offered = f" (did you mean {near[0]}?)" if near else ""
    if not near or len(names) <= FEW:
        offered = f": {', '.join(names)}{offered}"
    require(name in names, argument, expected=f"{what}{offered}", got=name)
