"""Small sets of pictures, `reddiff run` on them, and the pixels of all results."""

from __future__ import annotations

import json
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
from PIL import Image

import commands
from reddiff.engine import worker

LIGHT = ("--task", "denoise", "--noise", 0.05, "--steps", 2, "--prior", "tiny.safetensors")
COUNT = 5


def picture(name: str, seed: int, size: tuple[int, ...] = (12, 16, 3)) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(name)


def run(source: str, output: str, *words: object, code: int = 0) -> str:
    few = () if "--workers" in words else ("--workers", 0)
    more = ("--recursive", "--shard-size", 2) if "--shard-size" not in words else ("--recursive",)
    return commands.run("run", source, "-o", output, *LIGHT, *more, *few, *words, code=code)


def pixels(folder: str) -> dict[str, str]:
    """Key -> the hash of the pixels, of all results as they are read; and that none is twice."""
    found: list[tuple[str, str]] = []
    top = Path(folder)
    for path in sorted(top.glob("*.tar")):
        with tarfile.open(path) as tar:
            names = tar.getnames()
            data = {name: tar.extractfile(name).read() for name in names}  # type: ignore[union-attr]
        for name in names:
            if name.endswith(".json"):
                record = json.loads(data[name])
                key = record["key"]
                image = data[f"{Path(name).stem}{Path(record['job']['output']).suffix}"]
                found.append((key, digest(image)))
    for path in sorted(top.glob("[0-9]*.parquet")):
        found += [(r["key"], digest(r["image"])) for r in parquet.read_table(path).to_pylist()]
    for path in sorted(p for p in top.rglob("*.json") if "_run" not in p.parts):
        key = path.relative_to(top).as_posix().removesuffix(".json")
        found.append((key, digest(path.with_suffix("").read_bytes())))
    assert len(dict(found)) == len(found)
    return dict(found)


def digest(data: bytes) -> str:
    return np.asarray(Image.open(BytesIO(data))).tobytes().hex()


def restored_from_now(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The pictures that runs restore, as they begin them."""
    real, made = worker.restored, list[Any]()

    def restored(units: Any, *words: Any) -> Any:
        made.extend(units)
        return real(units, *words)

    monkeypatch.setattr(worker, "restored", restored)
    return made


def interrupt_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends as if by Ctrl-C before this picture."""
    real, made = worker.restored, []

    def restored(units: Any, *words: Any) -> Any:
        made.extend(units)
        if len(made) >= count:
            raise KeyboardInterrupt
        return real(units, *words)

    monkeypatch.setattr(worker, "restored", restored)
