"""100 restorations of a folder, ended by signals at random times: nothing half, lost or refused."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import forked
import numpy as np
import pytest
from PIL import Image

from reddiff.images.io import read_picture
from tiny import save_tiny

SIGNALS = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
WORDS = ["restore", "in", "--task", "denoise", "--noise", "0.05", "--steps", "6", "--recursive"]
WORDS += ["--prior", "tiny.safetensors", "--preview", "films"]


def pictures(folder: Path) -> dict[str, bytes]:
    """The pixels of all results, and that each is whole and has its record."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        assert not path.name.endswith(".part"), path
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".webp":
            with Image.open(path) as film:
                film.seek(film.n_frames - 1)
        else:
            assert path.with_name(f"{path.name}.json").exists(), path
            found[str(path.relative_to(folder))] = read_picture(path).to_numpy().tobytes()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("again", ["skip", "overwrite"])
def test_killed_runs(cases: Callable[[int], range], tmp_path: Path, again: str) -> None:
    forked.preload()
    root, printed = tmp_path / "box", tmp_path / "printed"
    rng = np.random.default_rng(0)
    for i in range(6):
        path = root / "in" / ("sub" * (i % 2)) / f"p{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (24, 20, 3), dtype=np.uint8)).save(path)
    save_tiny(root / "tiny.safetensors")
    begun = time.monotonic()
    ended = forked.finish(forked.start([*WORDS, "-o", "whole"], root, printed), printed, 100)
    lasts = time.monotonic() - begun
    assert ended.code == 0, ended.text
    good = pictures(root / "whole")
    shutil.rmtree(root / "films")
    for seed in cases(50):
        chance = random.Random(seed)
        sent = list(SIGNALS)[seed % 3]
        if again == "skip":
            shutil.rmtree(root / "out", ignore_errors=True)
            shutil.rmtree(root / "films", ignore_errors=True)
        # Else a folder that is finished: its pictures are replaced, one by one.
        pid = forked.start([*WORDS, "-o", "out", "--on-existing", again], root, printed)
        time.sleep(chance.uniform(0, lasts))
        os.kill(pid, sent)
        ended = forked.finish(pid, printed, 60)
        assert ended.code in (0, SIGNALS[sent]), (seed, ended)
        assert "Traceback" not in ended.text, (seed, ended.text)
        before = pictures(root / "out")
        assert all(good[name] == pixels for name, pixels in before.items())
        words = [*WORDS, "-o", "out", "--on-existing", "skip"]
        ended = forked.finish(forked.start(words, root, printed), printed, 100)
        assert ended.code == 0, (seed, ended.text)
        assert "0 failed" in ended.text
        assert pictures(root / "out") == good, seed
        pictures(root / "films")
