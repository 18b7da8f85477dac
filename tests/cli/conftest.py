"""Pictures that tests of the command line begin with."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from skimage import data

from picture_sets import COUNT, picture
from tiny import save_tiny


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A real picture of 64 x 64 pixels."""
    path = tmp_path / "photo.png"
    Image.fromarray(data.astronaut()[20:84, 180:244]).save(path)
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the test stands: a tiny prior and a folder `in` of five pictures."""
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path / "tiny.safetensors")
    for i in range(COUNT):
        picture(f"in/{'sub/' * (i % 2)}p{i}.png", i)
    return tmp_path
