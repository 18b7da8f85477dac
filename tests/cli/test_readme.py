"""What the README says to type does run: on small pictures, and in a few steps."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import commands

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SIDE = 32


def blocks(language: str) -> list[str]:
    """The code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


RESTORE = [
    line.removeprefix("$ reddiff ")
    for block in blocks("console")
    for line in block.splitlines()
    if line.startswith("$ reddiff restore")
]


def save_picture(path: Path) -> None:
    """A noisy ramp, or a mask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    if "mask" in path.name:
        pixels = 255.0 * (rng.random((SIDE, SIDE)) < 0.7)
    else:
        ramp = np.linspace(60, 190, SIDE)
        pixels = ramp[:, None, None] + 0.2 * ramp[:, None] + 15 * rng.normal(size=(SIDE, SIDE, 3))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


@pytest.mark.parametrize("line", RESTORE)
def test_restore(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line, comments=True)
    output = Path(words[words.index("-o") + 1])
    for word in words:
        if word.endswith("/") and word != words[words.index("-o") + 1]:
            save_picture(Path(word, "one.png"))
        elif word.endswith((".png", ".jpg", ".tif")) and Path(word) != output:
            save_picture(Path(word))
    commands.run(*words, "--steps", 2)
    assert output.is_file() or list(output.glob("*.png"))


@pytest.mark.slow
def test_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks one after the other, as one session; on a smaller picture than the demo's."""
    monkeypatch.chdir(tmp_path)
    source = "\n".join(blocks("python"))
    for name in re.findall(r'restore\("([^"]+)"', source):
        save_picture(Path(name))
    assert "reddiff" in source
    exec(compile(source.replace("256", str(SIDE)), "README.md", "exec"), {})


def test_there_are_commands() -> None:
    assert len(RESTORE) >= 3
