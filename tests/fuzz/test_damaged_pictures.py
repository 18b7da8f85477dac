"""Damaged pictures: read, or refused in one line; never a traceback, a hang, or memory without end.

Every case runs in a fork with a time limit and a limit of its address space.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bounded import MEMORY, ended
from damage import bases, damaged

from reddiff.images.io import picture_size, read_kernel, read_mask, read_picture
from reddiff.operators import JPEG

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

WAYS: list[Callable[[Path], object]] = [
    read_picture,
    lambda path: read_picture(path, page=2, value_range=(0, 200)),
    picture_size,
    lambda path: read_mask(path, (24, 32), fit=True),
    read_kernel,
    JPEG.of,
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> int:
    """The memory of a fork that reads a whole small file."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("base")
    (folder / "a").write_bytes(bases()["zlib.tif"])
    how, peak = ended(lambda: read_picture(folder / "a"), folder / "printed")
    assert how == "ok"
    return peak


def test_damaged_pictures(cases: Callable[[int], range], tmp_path: Path, base: int) -> None:
    path, bad = tmp_path / "a", []
    for seed in cases(1000):
        name, data = damaged(seed)
        path.write_bytes(data)
        way = WAYS[0] if seed % 3 else WAYS[seed // 3 % len(WAYS)]
        how, peak = ended(lambda way=way: way(path), tmp_path / "printed")
        if how != "ok" or peak > base + MEMORY:
            bad.append(f"seed {seed} of {name}, {(peak - base) >> 20} MB: {how}")
    assert not bad, "\n".join(bad)
