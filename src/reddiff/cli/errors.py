"""How a failed command ends: one line on stderr and an exit code."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import typer
from typer.core import TyperGroup

from reddiff.errors import ReddiffError

INVALID_INPUT = 3
FILE_TROUBLE = 4
SOME_FAILED = 5
INTERRUPTED = 130

debugging: ContextVar[bool] = ContextVar("debugging", default=False)


def explain(error: Exception) -> str:
    """An error as one line."""
    return " ".join(str(error).split())


class Group(TyperGroup):
    """The commands; errors raised on purpose become one line, unless `--debug` is given.

    Any other exception is a bug and keeps its traceback (exit code 1).
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except (ReddiffError, OSError) as error:
            if debugging.get():
                raise
            typer.echo(f"reddiff: {explain(error)}", err=True)
            system = isinstance(error, OSError) or getattr(error, "errno", None) is not None
            raise typer.Exit(FILE_TROUBLE if system else INVALID_INPUT) from None
        except KeyboardInterrupt:
            typer.echo("reddiff: interrupted; finished files are complete", err=True)
            raise typer.Exit(INTERRUPTED) from None
