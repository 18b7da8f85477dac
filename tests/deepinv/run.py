"""Make a venv for deepinv beside .venv, whose torch it shares, and run the tests here in it.

Called by `make test-deepinv`, with the Python of .venv. Nothing is installed into .venv itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"
PLACE = Path(sys.prefix) / "deepinv"
PYTHON = PLACE / "bin" / "python"
STAMP = PLACE / ".installed"
ABSENT = "No matching distribution found"  # what pip says of an unknown version, and offline


def build() -> str | None:
    """Make the venv, unless it is up to date; why it cannot be had, if pip cannot get a package."""
    wanted = f"{sys.prefix} {sys.version}\n{REQUIREMENTS.read_text()}"
    if STAMP.exists() and STAMP.read_text() == wanted:
        return None
    sys.stdout.write(f"Making {PLACE} ...\n")
    sys.stdout.flush()
    venv.create(PLACE, clear=True, with_pip=False)
    shared = sysconfig.get_path("purelib")  # with its .pth files: the project is one of them
    own = sysconfig.get_path("purelib", "venv", {"base": str(PLACE), "platbase": str(PLACE)})
    Path(own, "shared.pth").write_text(f"import site; site.addsitedir({shared!r})\n")
    pip = [sys.executable, "-m", "pip", "--python", str(PYTHON), "install", "--no-deps"]
    quiet = ["--quiet", "--disable-pip-version-check", "--requirement", str(REQUIREMENTS)]
    done = subprocess.run([*pip, *quiet], check=False, capture_output=True, text=True)
    if done.returncode:
        if ABSENT not in done.stderr:
            sys.exit(f"{done.stderr}\ntest-deepinv: pip ended with {done.returncode}")
        return done.stderr.strip()
    STAMP.write_text(wanted)
    return None


def main() -> int:
    """The exit status of pytest; 0 where the packages cannot be had."""
    missing = build()
    if missing is not None:
        reason = "test-deepinv: SKIPPED, pip cannot get deepinv and what it imports"
        sys.stdout.write(f"{missing}\n\n{reason}\n")
        return 0
    ini = ["-c", str(HERE / "pytest.ini"), str(HERE)]
    command = [str(PYTHON), "-m", "pytest", *ini, *sys.argv[1:]]
    return subprocess.run(command, check=False, env={**os.environ, "MPLBACKEND": "Agg"}).returncode


if __name__ == "__main__":
    sys.exit(main())
