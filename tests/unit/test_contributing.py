"""The diffs in CONTRIBUTING.md are short, apply to the repository, and pass the laws."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = re.compile(r"^### An? (\w+)\n.*?^```diff\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DIFFS = dict(EXAMPLES.findall((ROOT / "CONTRIBUTING.md").read_text()))
LAWS = {  # kind -> the name of its entry, and the laws to run
    "solver": ("projected", ["lane", "permutation", "resume", "coordinates", "steps", "takes"]),
    "operator": ("mirror", ["operators"]),
    "prior": ("white", ["lane", "permutation", "coordinates", "pure", "resume"]),
    "noise": ("logistic", ["noises", "divergence"]),
    "metric": ("error", ["metrics"]),
}
every = pytest.mark.parametrize("kind", LAWS)


def apply(diff: str, to: Path) -> None:
    """Apply a diff to a copy that is no repository of its own."""
    env = {**os.environ, "GIT_CEILING_DIRECTORIES": str(to.parent)}
    git = ["git", "apply", "--whitespace=error-all", "-"]
    done = subprocess.run(git, cwd=to, input=diff, text=True, capture_output=True, env=env)
    assert done.returncode == 0, done.stderr


@every
def test_an_example_is_short_and_applies(kind: str, tmp_path: Path) -> None:
    diff = DIFFS[kind]
    assert len(diff.splitlines()) <= 40
    touched = re.findall(r"^\+\+\+ b/(\S+)$", diff, re.MULTILINE)
    package = {"operator": "operators", "metric": "metrics", "prior": "priors", "noise": "noise"}
    assert len(touched) == 3
    assert f"src/reddiff/{package.get(kind, 'solvers')}/__init__.py" in touched
    for name in touched:
        if (ROOT / name).exists():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    apply(diff, tmp_path)
    added = [line for line in diff.splitlines() if line.startswith("+") and line[1:3] != "++"]
    text = "".join((tmp_path / name).read_text() for name in touched)
    assert all(line[1:] in text for line in added)


@pytest.mark.slow
@every
def test_an_example_passes_the_laws(kind: str, tmp_path: Path) -> None:
    for name in ("src", "tests", "benchmarks"):
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=skipped)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    apply(DIFFS[kind], tmp_path)
    name, laws = LAWS[kind]
    files = [f"tests/laws/test_{law}.py" for law in laws]
    run = [sys.executable, "-m", "pytest", *files, "-q", "-x", "-m", "not slow", "-k", name]
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "src")}
    env.pop("PYTEST_ADDOPTS", None)
    run += ["-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"\b[1-9]\d* passed", done.stdout)
