"""100 restorations of a folder, ended by signals at random times: nothing half, lost or refused."""

from __future__ import annotations

import csv
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
from damage import bases
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
        elif folder.name == "films":
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


FOLDERS = ["", "a b", "{x}/[y]", "été/深い/c"]


@pytest.mark.slow
def test_a_mixed_folder_ended_by_each_signal(tmp_path: Path) -> None:
    """Files of every kind in a tree, some broken: the good ones are there, as without pauses."""
    forked.preload()
    root, printed = tmp_path / "box", tmp_path / "printed"
    for i, (name, data) in enumerate(sorted(bases().items())):
        path = root / "in" / FOLDERS[i % 4] / f"{name[: i % 3]}{i}.{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    several = [n for n in bases() if n.startswith(("frames.", "pages.", "stack."))]
    whole = len(bases()) - len(several)
    broken = {f"cut.{n}": bases()[n][:200] for n in ("RGBA.png", "rich.jpg", "zlib.tif")}
    broken |= {"empty.png": b"", "text.jpg": b"no picture"}
    for name, data in broken.items():
        (root / "in" / FOLDERS[-1] / name).write_bytes(data)
    for name in ("._x.png", ".hidden.jpg"):
        (root / "in" / name).write_bytes(bases()["RGBA.png"])
    save_tiny(root / "tiny.safetensors")
    words = [*WORDS[:-2], "--report", "report.csv", "-o"]

    ended = forked.finish(forked.start([*words, "whole"], root, printed), printed, 100)
    assert ended.code == 5, ended.text
    good = pictures(root / "whole")
    assert len(good) == whole, ended.text
    for share, (sent, code) in enumerate(SIGNALS.items(), 1):
        pid = forked.start([*words, "out", "--on-existing", "skip"], root, printed)
        end = time.monotonic() + 60
        while time.monotonic() < end and len(results(root / "out")) < share * whole // 4:
            time.sleep(0.001)
        os.kill(pid, sent)
        ended = forked.finish(pid, printed, 60)
        assert ended.code == code, (sent, ended)
        assert "Traceback" not in ended.text, ended.text
        before = pictures(root / "out")
        assert 0 < len(before) < whole
        assert all(good[name] == pixels for name, pixels in before.items())
    last = [*words, "out", "--on-existing", "skip"]
    ended = forked.finish(forked.start(last, root, printed), printed, 100)
    assert ended.code == 5, ended.text
    assert pictures(root / "out") == good
    with (root / "report.csv").open() as file:
        reasons = {Path(row["file"]).name: row["reason"] for row in csv.DictReader(file)}
    failed = [name for name, reason in reasons.items() if reason]
    assert set(broken) <= set(failed)
    assert "truncated" in reasons["cut.zlib.tif"]
    assert sum("expected one picture (--page N" in r for r in reasons.values()) == len(several)
    assert len(failed) == len(broken) + len(several)


def results(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.suffix not in (".json", ".part", "")]
