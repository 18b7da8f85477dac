"""`reddiff demo`: one photo, degraded and restored, in one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    output: Annotated[Path, typer.Option(help="The folder the picture goes to.")] = Path("demo"),
) -> None:
    """Restore a photo."""
    import torch  # noqa
    from reddiff.errors import InvalidArgument

    raise InvalidArgument("x", expected="a", got=str(output))
