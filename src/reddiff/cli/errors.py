"""Errors of commands: a line on stderr and an exit code."""

from __future__ import annotations

import errno
from contextvars import ContextVar
from typing import Any

import typer
from typer.core import TyperGroup

from reddiff.cli.interruptions import INTERRUPTED, MESSAGE
from reddiff.cli.terminal import one_line, say
from reddiff.errors import Diverged, ReddiffError

WRONG_COMMAND = 2
INVALID_INPUT = 3
FILE_TROUBLE = 4
SOME_FAILED = 5
DIVERGED = 6

MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")
# From click, or from typer's bundled copy of it.
UsageError: type[Any] = typer.BadParameter.__mro__[1]

debugging: ContextVar[bool] = ContextVar("debugging", default=False)


def explain(error: BaseException) -> str:
    """An error as one line."""
    if is_memory(error):
        return one_line(f"not enough memory ({error})")
    if isinstance(error, SystemExit):
        return f"expected code that returns, got sys.exit({one_line(repr(error.code))})"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return one_line(f"{error.filename}: {error.strerror.lower()}")
    if is_expected(error):
        return one_line(str(error))
    return one_line(
        f"{type(error).__name__}: {error} (a bug in reddiff; --debug shows the traceback)"
    )


def exit_code(error: BaseException) -> int:
    """The exit code for an error that `is_expected`."""
    if isinstance(error, Diverged):
        return DIVERGED
    if isinstance(error, OSError) or getattr(error, "errno", None) is not None:
        return FILE_TROUBLE
    return INVALID_INPUT


def is_expected(error: BaseException) -> bool:
    """Whether an error is not a bug."""
    return isinstance(error, (ReddiffError, OSError, SystemExit)) or is_memory(error)


def is_memory(error: BaseException) -> bool:
    """Whether an error is caused by a lack of memory."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(text in words for text in MEMORY)
    )


class Group(TyperGroup):
    """The group of commands: expected errors become one line, unless `--debug` is given.

    Any other exception is a bug and keeps its traceback (exit code 1).
    """

    def make_context(self, *args: Any, **more: Any) -> Any:
        """Parse the options before the command."""
        try:
            return super().make_context(*args, **more)
        except UsageError as error:
            _end_usage(error)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; `restore --replay RECORD` is the older form of `replay RECORD`."""
        if args[0] == "restore":
            for i, word in enumerate(args):
                if word == "--replay" or word.startswith("--replay="):
                    record = args[i + 1 : i + 2] if word == "--replay" else [word[9:]]
                    rest = args[i + 1 + (word == "--replay") :]
                    args = ["replay", *args[1:i], *record, *rest]
                    break
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            _end_usage(error)
        except KeyboardInterrupt as error:
            say(MESSAGE, error=True)
            raise typer.Exit(getattr(error, "code", INTERRUPTED)) from None
        except (Exception, SystemExit) as error:
            if debugging.get() or _of_closed_pipe(error) or not is_expected(error):
                raise
            say(f"reddiff: {explain(error)}", error=True)
            raise typer.Exit(exit_code(error)) from None


def _of_closed_pipe(error: BaseException) -> bool:
    """Whether the reader of a pipe has closed it; rich turns this into an exit."""
    cause = error.__context__ if isinstance(error, SystemExit) else error
    return isinstance(cause, OSError) and cause.errno == errno.EPIPE


def _end_usage(error: Any) -> None:
    """End with a one-line message for an invalid command line, or with the help if it is empty."""
    if not str(error.format_message()).strip() or type(error).__name__ == "NoArgsIsHelpError":
        raise error
    where = "reddiff" if error.ctx is None else error.ctx.command_path
    say(f"{where}: {one_line(error.format_message())} (see {where} --help)", error=True)
    raise typer.Exit(WRONG_COMMAND) from None
