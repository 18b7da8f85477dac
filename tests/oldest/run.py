"""Install the oldest versions that pyproject.toml allows beside .venv, and use the command line.

Called by `make test-oldest`, with the Python of .venv. All but torch, which is .venv's own, with
what it imports: it is large, and its oldest version is no smaller.
"""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from venvs import install, run

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PLACE = Path(sys.prefix) / "oldest"
PYTHON = PLACE / "bin" / "python"
STAMP = PLACE / ".installed"
KEPT = {"numpy", "pillow"}  # of what torch asks for: ours to choose


def minimums() -> list[str]:
    """What pyproject.toml asks for, each at the oldest version it allows; torch is left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = [re.match(r"([\w.-]+)>=([\w.]+)", line) for line in project["dependencies"]]
    assert all(found), "every dependency has an oldest version"
    pairs = [match.groups() for match in found if match]
    return [f"{name}=={version}" for name, version in pairs if name != "torch"]


def closure(name: str) -> set[str]:
    """An installed distribution and all that it asks for."""
    names, waiting = set[str](), [name]
    while waiting:
        name = waiting.pop()
        try:
            asked = distribution(name).requires or []
        except PackageNotFoundError:  # for another system or Python
            continue
        names.add(name)
        plain = {re.split(r"[^\w.-]", r, maxsplit=1)[0].lower() for r in asked if "extra" not in r}
        waiting += plain - names - KEPT
    return names


def borrow(names: set[str], place: Path) -> None:
    """Links to the files of these distributions."""
    place.mkdir(parents=True)
    for name in names:
        for file in distribution(name).files or []:
            top = file.parts[0]
            if top not in ("..", "__pycache__", "bin") and not (place / top).exists():
                (place / top).symlink_to(Path(str(distribution(name).locate_file(top))))


def build() -> str | None:
    """Make the venv, unless it is up to date; the message of pip if it cannot get a package."""
    wanted = "\n".join([sys.prefix, sys.version, distribution("torch").version, *minimums()])
    if STAMP.exists() and STAMP.read_text() == wanted:
        return None
    sys.stdout.write(f"Making {PLACE} with {', '.join(minimums())} ...\n")
    sys.stdout.flush()
    shutil.rmtree(PLACE, ignore_errors=True)
    venv.create(PLACE, with_pip=False)
    borrow(closure("torch") | {"reddiff"}, PLACE / "borrowed")
    site = PLACE / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (site / "borrowed.pth").write_text(f"{PLACE / 'borrowed'}\n{ROOT / 'src'}\n")
    missing = install("test-oldest", PYTHON, "--only-binary=:all:", *minimums())
    if missing is not None:
        return missing
    STAMP.write_text(wanted)
    return None


if __name__ == "__main__":
    smoke = [str(PYTHON), str(HERE / "smoke.py"), *minimums()]
    sys.exit(run("test-oldest", build, smoke))
