"""Read PBM, PGM and PPM: a text header, then pixels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reddiff.errors import PictureError
from reddiff.images.io.opened import Opened
from reddiff.images.io.picture import Picture

WORD = re.compile(rb"(?:\s|#[^\n\r]*[\n\r])*([0-9]{1,9})")


def open_netpbm(path: Path, data: bytes) -> Opened:
    """Open P1 to P6: bits, gray or RGB; as text or bytes, with up to 16 bits."""
    kind, at = data[1] - ord("0"), 2
    numbers = []
    for _ in range(2 if kind in (1, 4) else 3):
        word = WORD.match(data, at)
        if word is None:
            raise PictureError(path, expected="a whole picture", got="a damaged file (its header)")
        numbers.append(int(word[1]))
        at = word.end()
    width, height, top = (*numbers, 1)[:3]
    if not 1 <= top <= 65535 or width * height == 0:
        got = f"{width}x{height} pixels of 0 to {top}"
        raise PictureError(path, expected="pixels of 0 to at most 65535", got=got)

    def load() -> Picture:
        channels = 3 if kind in (3, 6) else 1
        planes = _levels(path, data, at, kind, (height, width, channels), top)
        if kind in (1, 4):
            planes = 1 - planes  # 1 is black
        pixels = torch.from_numpy(np.moveaxis(planes, -1, 0).astype(np.float32, order="C"))
        return Picture(pixels.div_(top).clamp_(0, 1), None, 8 if top < 256 else 16, format="PPM")

    return Opened(width, height, 1, load)


def _levels(
    path: Path, data: bytes, at: int, kind: int, shape: tuple[int, int, int], top: int
) -> NDArray[Any]:
    count = shape[0] * shape[1] * shape[2]
    if kind in (1, 2, 3):
        text = re.sub(rb"#[^\n\r]*", b" ", data[at:])
        words = re.findall(rb"[01]", text) if kind == 1 else text.split()
        if len(words) < count:
            raise PictureError(path, expected="a whole picture", got="a truncated file")
        return np.array(words[:count], dtype=np.int64).reshape(shape)
    start = at + 1  # one white space
    if kind == 4:
        row = -(-shape[1] // 8)
        packed = _entries(path, data, start, "u1", shape[0] * row).reshape(shape[0], row)
        return np.unpackbits(packed, axis=1)[:, : shape[1], None]
    return _entries(path, data, start, "u1" if top < 256 else ">u2", count).reshape(shape)


def _entries(path: Path, data: bytes, start: int, dtype: str, count: int) -> NDArray[Any]:
    if len(data) - start < count * np.dtype(dtype).itemsize:
        raise PictureError(path, expected="a whole picture", got="a truncated file")
    return np.frombuffer(data, dtype, count, start)
