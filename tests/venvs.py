"""What the scripts that test in a venv of their own share."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
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


def run_tests(here: Path, env: dict[str, str]) -> int:
    """The exit status of the tests in a folder, in a venv beside .venv that has .venv's packages.

    Nothing is installed into .venv itself. The arguments of this process go on to pytest.

    Arguments:
        here: The folder of the tests, of the name of the venv, with a `requirements.txt`, installed
            without what they ask for, and a `pytest.ini`.
        env: Added to the environment of pytest.
    """
    target, requirements = f"test-{here.name}", here / "requirements.txt"
    place = Path(sys.prefix) / here.name
    python, stamp = place / "bin" / "python", place / ".installed"

    def build() -> str | None:
        """Make the venv, unless it is up to date; pip's message if it cannot get a package."""
        wanted = f"{sys.prefix} {sys.version}\n{requirements.read_text()}"
        if stamp.exists() and stamp.read_text() == wanted:
            return None
        sys.stdout.write(f"Making {place} ...\n")
        sys.stdout.flush()
        venv.create(place, clear=True, with_pip=False)
        shared = sysconfig.get_path("purelib")  # with its .pth files: the project is one of them
        own = sysconfig.get_path("purelib", "venv", {"base": str(place), "platbase": str(place)})
        Path(own, "shared.pth").write_text(f"import site; site.addsitedir({shared!r})\n")
        missing = install(target, python, "--no-deps", "--requirement", str(requirements))
        if missing is None:
            stamp.write_text(wanted)
        return missing

    tests = ["-c", str(here / "pytest.ini"), str(here), *sys.argv[1:]]
    return run(target, build, [str(python), "-m", "pytest", *tests], {**os.environ, **env})
