"""The worked examples: each runs from end to end, and improves on where it starts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples"
LINES = 80

# By how many dB each result beats each picture it is compared with, at the least.
GAINS = {
    "own_function": [("recorded", "reddiff", 12)],
    "scipy_operator": [("resampled", "reddiff", 3)],
    "deconvolution": [("recorded", "reddiff", 8), ("wiener", "reddiff", 8)],
    "demosaic": [("bilinear", "reddiff", 3)],
    "mri": [("zero filled", "reddiff", 5), ("sense", "reddiff", 2)],
    "ct": [("back projection", "reddiff", 1), ("back projection hann", "reddiff", 1)],
    "phase": [("projections", "reddiff", 20)],
    "latent": [("recorded", "latent", 10), ("gaussian", "latent", 1)],
}
RATIO = (0.5, 1.35)  # of the residual to the noise


@pytest.mark.slow
@pytest.mark.parametrize("name", GAINS)
def test_example(name: str, tmp_path: Path) -> None:
    picture = tmp_path / "sub" / "picture.png"
    picture.parent.mkdir()
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--output", str(picture)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    values = {k: float(v) for k, v in re.findall(r"^(.+): (-?[\d.]+) dB$", done.stdout, re.M)}
    for start, end, gain in GAINS[name]:
        assert values[end] >= values[start] + gain, done.stdout
    ratios = [float(r) for r in re.findall(r"^residual ratio: ([\d.]+)", done.stdout, re.M)]
    assert ratios
    assert all(RATIO[0] < ratio < RATIO[1] for ratio in ratios), done.stdout
    with Image.open(picture) as image:
        assert image.width > 3 * 200
    assert [path.name for path in tmp_path.iterdir()] == ["sub"]


def test_every_example_is_tested_listed_and_short() -> None:
    scripts = {path.stem for path in FOLDER.glob("*.py")} - {"common", "heads"}
    assert scripts == {*GAINS, "deepinv_benchmark"}  # which tests/peers runs
    for page in (FOLDER / "README.md", ROOT / "docs" / "examples.md"):
        text = page.read_text()
        assert [name for name in scripts if f"{name}.py" not in text] == []
    for path in FOLDER.glob("*.py"):
        lines = path.read_text().splitlines()
        assert len(lines) <= LINES, path.name
        assert lines[0].startswith('"""'), path.name
