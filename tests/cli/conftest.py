from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from skimage import data


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A real picture of 64 x 64 pixels."""
    path = tmp_path / "photo.png"
    Image.fromarray(data.astronaut()[20:84, 180:244]).save(path)
    return path
