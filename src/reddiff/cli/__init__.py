"""The command line: parse arguments, call the library, print. It holds no logic of its own.

Everything typed here is in [0, 1] pixel units. Nothing heavier than typer is imported before a
command runs, so that `reddiff --help` answers at once; and not even that before interruptions are
taken care of.
"""

from __future__ import annotations

from typing import Any


def main() -> None:
    """Run the command line and exit with its code."""
    from reddiff.cli import interruptions

    interruptions.end_at_once()
    from reddiff.cli.commands import app
    from reddiff.cli.terminal import print_anything

    print_anything()
    app()


def __getattr__(name: str) -> Any:
    """`app`, imported when it is first used."""
    if name == "app":
        from reddiff.cli.commands import app

        return app
    raise AttributeError(name)
