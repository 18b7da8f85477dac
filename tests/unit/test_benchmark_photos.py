"""`benchmarks/photos.py`, with a prior that costs nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests import scripts
from torch import Tensor

from reddiff import InvalidArgument
from reddiff.images.io import Picture, write_picture
from reddiff.priors import Prior

pytestmark = pytest.mark.usefixtures("untyped")

photos, common = scripts.benchmark("photos"), scripts.benchmark("common")


class Shrink(Prior):
    """The denoiser of pixels of variance 1/4; counts its calls."""

    trusted = True

    def __init__(self) -> None:
        super().__init__((3, None, None), 0.002, 80.0)
        self.calls = 0

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.calls += 1
        return x * 0.25 / (0.25 + sigma**2)


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    paths = [tmp_path / "in" / f"{i}.png" for i in range(3)]
    paths[0].parent.mkdir()
    for i, path in enumerate(paths):
        pixels = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(i))
        write_picture(path, Picture(pixels))
    return [str(p) for p in paths]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def call(command: str, out: Path, images: list[str], *more: str) -> int:
    """Run a command with 2 steps; the number of calls of its prior."""
    prior = Shrink()
    argv = [command, "--out", str(out), "--images", *images, "--noise", "0.1", *more]
    photos.main([*argv, "--steps", "2"], lambda: prior)
    return prior.calls


def test_what_is_in_the_file_is_not_run_again(out: Path, images: list[str]) -> None:
    few = ("--tasks", "denoise", "sr4", "--methods", "noise-aware", "paper")
    assert call("run", out, images, *few) == 8
    whole = out.read_text()
    assert call("run", out, images, *few) == 0
    assert out.read_text() == whole
    out.write_text(whole[:-40])  # as if killed in the middle of the last line
    assert call("run", out, images, *few) == 2
    again = photos.load(out)
    first = [json.loads(line) for line in whole.splitlines()]
    assert [r["psnr"] for r in again] == [r["psnr"] for r in first]
    assert {len(r["lpips"]) for r in again} == {3}


def test_only_the_noise_aware_methods_depend_on_the_source(
    out: Path, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ("--tasks", "denoise", "--methods", "noise-aware", "paper", "--limit", "1")
    call("run", out, images, *few)
    monkeypatch.setattr(photos, "source_hash", lambda: "newer")
    assert call("run", out, images, *few) == 2
    assert photos.load(out)[-1]["method"] == "noise-aware"


def test_the_rows_of_another_prior_are_not_taken(
    out: Path, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ("--tasks", "denoise", "--methods", "paper", "--limit", "1")
    assert call("run", out, images, *few) == call("run", out.with_name("other"), images, *few)
    assert call("run", out, images, *few) == 0
    monkeypatch.setattr(photos, "weights_hash", lambda prior: "others")
    assert call("run", out, images, *few) == 2
    assert len(photos.by_pictures(photos.load(out))) == 2


@pytest.mark.parametrize("task", list(photos.TASKS))
def test_a_pictures_measurement_does_not_depend_on_the_slice(
    task: str, out: Path, images: list[str]
) -> None:
    every = photos.Bench(photos.read_photos(images[::-1]), Shrink(), out)
    last = photos.Bench(photos.read_photos(images, skip=2), Shrink(), out)
    whole, part = (bench.measure(task, 0.05)[1] for bench in (every, last))
    torch.testing.assert_close(part.y[0], whole.y[2])
    assert torch.equal(part.measured[0], whole.measured[2])


def row(weight: float, lr: float, steps: int, psnr: float, lpips: float) -> photos.Row:
    cell = {"kind": "tune", "task": "sr4", "noise": 0.1, "images": ["in/0.png"], "size": [64, 64]}
    what = {"method": "paper", "weight": weight, "lr": lr, "steps": steps}
    return cell | what | {"psnr": [psnr], "lpips": [lpips]}


def test_tuning_finds_the_best_of_the_grid_in_fewer_trials() -> None:
    cell, size, rows = ("sr4", 0.1), (64, 64), []
    weights, rates = photos.WEIGHTS, photos.RATES
    assert photos.missing([], 10) == [photos.Setting(w, photos.FIRST_RATE, 10) for w in weights]
    while todo := photos.missing(rows, 10):
        if rows:
            with pytest.raises(InvalidArgument, match="to go"):
                photos.choice(rows, cell, size, "psnr")
        for s in todo:
            i, j = weights.index(s.weight), rates.index(s.lr)
            scores = 30 - (i - 3) ** 2 - (j - 2) ** 2, 0.1 + abs(i - 1) + abs(j - 3)
            rows.append(row(s.weight, s.lr, s.steps, *scores))
    assert len({(r["weight"], r["lr"]) for r in rows}) == len(rows) < 20
    assert photos.choice(rows, cell, size, "psnr") == photos.Setting(weights[3], rates[2], 10)
    assert photos.choice(rows, cell, size, "lpips") == photos.Setting(weights[1], rates[3], 10)
    with pytest.raises(InvalidArgument, match="0 lines"):
        photos.choice(rows, ("box", 0.1), size, "psnr")


def test_tuning_resumes_and_its_choice_is_run_and_reported(
    out: Path, images: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    tuned = ("--limit", "2", "--tasks", "sr4", "--methods", "paper-tuned", "paper-tuned-lpips")
    with pytest.raises(InvalidArgument, match="tune"):
        call("run", out, images, *tuned)
    there = ("--tasks", "sr4", "--skip", "2")
    calls = call("tune", out, images, *there)
    lines = out.read_text().splitlines(keepends=True)
    assert 8 <= len(lines) < 20
    assert calls == 2 * len(lines)
    out.write_text("".join(lines[:6]))
    assert call("tune", out, images, *there) == calls - 12
    call("run", out, images, *tuned)
    call("run", out, images, "--limit", "2", "--tasks", "sr4", "--methods", "noise-aware")
    best = max(photos.load(out)[: len(lines)], key=lambda r: photos.mean(r["psnr"]))
    chosen = next(r for r in photos.load(out) if r["method"] == "paper-tuned")
    assert [chosen[k] for k in ("weight", "lr")] == [best["weight"], best["lr"]]
    capsys.readouterr()
    photos.main(["report", "--out", str(out)])
    text = capsys.readouterr().out
    assert "| degraded | noise-aware | paper-tuned | paper-tuned-lpips |" in text
    assert "noise-aware beats paper-tuned in PSNR in" in text


def test_the_report_counts_and_names_what_was_lost(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for task, ours in (("sr4", 20.0), ("box", 31.0)):
        for method, value in (("noise-aware", ours), ("paper", 30.5)):
            scores = row(1, 0.1, 10, value, 0.1)
            more = {"kind": "run", "task": task, "method": method, "source": "older"}
            common.append(out, scores | more)
    photos.main(["report", "--out", str(out)])
    text = capsys.readouterr().out
    assert "noise-aware beats paper in PSNR in 1 of 2 cells" in text
    assert "lost: sr4 at 0.1, worse by 10.50" in text
    assert "**31.00** / **0.100** †" in text
    assert text.index("| box |") < text.index("| sr4 |")
