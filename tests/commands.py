"""The command line, as the tests call it."""

from __future__ import annotations

from typer.testing import CliRunner

from reddiff.cli import app


def run(*words: object, code: int = 0) -> str:
    """What `reddiff` prints with these words; it ends with this code, and without a traceback."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.exception)
    assert "Traceback" not in result.output
    return result.output
