"""What the scripts that test in a venv of their own share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ABSENT = "No matching distribution found"  # pip's message for an unknown version, and offline


def install(target: str, python: Path, *arguments: str) -> str | None:
    """Install with the pip of this interpreter; its message if it cannot get a package.

    Any other failure ends the process.
    """
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    command = [*pip, "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode and ABSENT not in done.stderr:
        sys.exit(f"{done.stderr}\n{target}: pip ended with {done.returncode}")
    return done.stderr.strip() if done.returncode else None


def run(
    target: str,
    build: Callable[[], str | None],
    command: Sequence[str],
    env: dict[str, str] | None = None,
) -> int:
    """The exit status of a command in the venv; 0 where its packages cannot be had."""
    missing = build()
    if missing is not None:
        sys.stdout.write(f"{missing}\n\n{target}: SKIPPED, pip cannot get the packages\n")
        return 0
    return subprocess.run(command, check=False, env=env).returncode
