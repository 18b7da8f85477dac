"""The command line: parses arguments, calls the library and prints.

Pixel values are in [0, 1]. Heavy modules are imported when a command runs, so that `reddiff --help`
is fast. Signal handlers are installed before anything is imported.
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
    """Import `app` when it is first used."""
    if name == "app":
        from reddiff.cli.commands import app

        return app
    raise AttributeError(name)
