"""Make a venv for diffusers beside .venv, whose torch it shares, and run the tests here in it.

Called by `make test-diffusers`, with the Python of .venv. Nothing is installed into .venv itself.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import venv
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from venvs import install, run

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"
PLACE = Path(sys.prefix) / "diffusers"
PYTHON = PLACE / "bin" / "python"
STAMP = PLACE / ".installed"


def build() -> str | None:
    """Make the venv, unless it is up to date; the message of pip if it cannot get a package."""
    wanted = f"{sys.prefix} {sys.version}\n{REQUIREMENTS.read_text()}"
    if STAMP.exists() and STAMP.read_text() == wanted:
        return None
    sys.stdout.write(f"Making {PLACE} ...\n")
    sys.stdout.flush()
    venv.create(PLACE, clear=True, with_pip=False)
    shared = sysconfig.get_path("purelib")  # with its .pth files: the project is one of them
    own = sysconfig.get_path("purelib", "venv", {"base": str(PLACE), "platbase": str(PLACE)})
    Path(own, "shared.pth").write_text(f"import site; site.addsitedir({shared!r})\n")
    missing = install("test-diffusers", PYTHON, "--no-deps", "--requirement", str(REQUIREMENTS))
    if missing is not None:
        return missing
    STAMP.write_text(wanted)
    return None


if __name__ == "__main__":
    tests = ["-c", str(HERE / "pytest.ini"), str(HERE), *sys.argv[1:]]
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    sys.exit(run("test-diffusers", build, [str(PYTHON), "-m", "pytest", *tests], env))
