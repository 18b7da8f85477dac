"""How a failed command ends: one line on stderr and an exit code."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from reddiff.errors import ReddiffError

INVALID_INPUT = 3
FILE_TROUBLE = 4


class Group(TyperGroup):
    """The commands; errors raised on purpose become one line, unless `--debug` is given.

    Any other exception is a bug and keeps its traceback (exit code 1).
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except (ReddiffError, OSError) as error:
            if ctx.params["debug"]:
                raise
            typer.echo(f"reddiff: {' '.join(str(error).split())}", err=True)
            code = INVALID_INPUT if isinstance(error, ReddiffError) else FILE_TROUBLE
            raise typer.Exit(code) from None
