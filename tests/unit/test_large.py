"""Large pictures in windows: blended, independent of the order, with missing pixels kept out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve
from skimage import data
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

import reddiff
from reddiff.errors import Diverged, InvalidArgument, PictureError
from reddiff.images.settings import Settings
from reddiff.images.tasks import Deblur, SuperResolve
from reddiff.large import windows
from reddiff.large.channels import Channels
from reddiff.large.grid import Box, Grid
from reddiff.large.parts import Parts
from reddiff.large.plan import Large
from reddiff.large.restoration import Watcher, restore_large
from reddiff.large.tasks import Partial
from reddiff.priors import Prior

pytestmark = pytest.mark.usefixtures("untyped")  # runs of many short steps
PHOTO = data.astronaut()[:48, 180:240]
NOISY = (PHOTO / 255 + 0.1 * np.random.default_rng(0).normal(size=PHOTO.shape)).astype(np.float32)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Smooth(Prior):
    """The local mean, and a part of what is beside it: cheap, and of any size."""

    def __init__(self, channels: int) -> None:
        super().__init__((channels, None, None))
        self.trusted = True

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        mean = avg_pool2d(pad(x, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
        return mean + (x - mean) * 0.1**2 / (0.1**2 + sigma**2)


@pytest.fixture
def prior() -> Prior:
    return Smooth(3)


@pytest.fixture
def gray() -> Prior:
    return Smooth(1)


def large(array: np.ndarray, prior: Prior, watcher: Watcher | None = None, **more: Any) -> Any:
    """The result of an array; a new one with `name`."""
    name, again = more.pop("name", "out"), more.pop("again", False)
    own = ("window", "overlap", "nodata", "channels", "force")
    given = {key: more.pop(key) for key in own if key in more}
    black_and_white = "0,1" if array.dtype == np.float32 else None
    settings = Settings(
        **{"task": "denoise", "noise": 0.1, "steps": 3, "range": black_and_white, **more}
    )
    if not again:
        np.save("in.npy", array)
    request = Large(
        source=Path("in.npy"),
        output=Path(f"{name}.npy"),
        settings=settings,
        **{"window": 40, "overlap": 12, **given},
    )
    result = restore_large(request, prior=prior, watcher=watcher)
    assert not Path(f"{name}.npy.parts").exists()
    found = np.load(f"{name}.npy")
    assert found.dtype == array.dtype
    return found, result


@pytest.mark.parametrize("size", [(30, 30), (48, 100), (101, 97)])
@pytest.mark.parametrize(("scale", "chunk"), [(1, (1, 1)), (3, (1, 1)), (2, (40, 16))])
def test_windows_cover_and_parts_divide(size, scale, chunk):
    grid = Grid(size, 48, 16, scale, chunk)
    weight = torch.zeros(scale * size[0], scale * size[1], dtype=torch.float64)
    for box in (box for row in grid.windows for box in row):
        assert box.size == (min(48, size[0]), min(48, size[1]))
        place = box.times(scale)
        weight[place.rows, place.columns] += grid.weights(box)
    assert weight.min() > 0.1
    count = torch.zeros_like(weight)
    for part in (part for row in grid.parts for part in row):
        count[part.rows, part.columns] += 1
        assert part.rows.start % chunk[0] == 0
        assert part.columns.start % chunk[1] == 0
    assert (count == 1).all()


def test_one_window_is_the_picture_as_a_whole(prior):
    found, result = large(NOISY, prior, window=256)
    whole = reddiff.restore(NOISY, task="denoise", noise=0.1, steps=3, prior=prior)
    np.testing.assert_allclose(found, whole.pixels.movedim(0, -1), atol=1e-6)
    assert result.record["windows"] == 1
    assert result.record["solved_twice"] == 0


def test_windows_differ_little_from_the_whole(prior):
    found, result = large(NOISY, prior)
    whole = reddiff.restore(NOISY, task="denoise", noise=0.1, steps=3, prior=prior).pixels.movedim(
        0, -1
    )
    assert result.record["windows"] == 4
    gain = np.abs(NOISY - whole.numpy()).mean()
    assert np.abs(found - whole.numpy()).mean() < 0.05 * gain


def test_the_type_of_the_values_is_kept(gray):
    deep = np.rint(4095 * NOISY[..., 0].clip(0, 1)).astype(np.uint16)
    found, _ = large(deep, gray, range="0,4095")
    assert 3000 < found.max() <= 4095
    metres = 500.0 + 2500 * NOISY[..., 0].astype(np.float64)
    high, _ = large(metres, gray, range="500,3000", name="metres")
    inside = (metres > 500) & (metres < 3000)
    assert np.abs((high - 500) / 2500 - found / 4095)[inside].mean() < 2e-3
    with pytest.raises(InvalidArgument, match=r"range: expected .*--range.* got none, for values"):
        large(metres, gray, name="none")


@pytest.mark.parametrize("task", ["denoise", pytest.param("deblur", marks=pytest.mark.slow), "sr"])
def test_missing_pixels_stay_and_do_not_reach_others(task, gray):
    """What the missing pixels hold changes nothing else."""
    more = {"kernel": "uniform:3"} if task == "deblur" else {"scale": 2} if task == "sr" else {}
    hole = np.zeros(NOISY.shape[:2], bool)
    hole[20:30, 20:50] = True
    hole[:, 57:] = True
    results = []
    for value, nodata in ((np.nan, None), (-9999.0, -9999.0)):
        broken = np.where(hole, np.float32(value), NOISY[..., 0])
        found, result = large(
            broken, gray, task=task, nodata=nodata, name=f"{value}", steps=3, **more
        )
        scale = more.get("scale", 1)
        gone = hole.repeat(scale, 0).repeat(scale, 1)
        np.testing.assert_array_equal(found[gone], np.float32(value))
        assert np.isfinite(found[~gone]).all()
        assert result.record["missing"] == pytest.approx(hole.mean(), abs=1e-4)
        results.append(found[~gone])
    assert (results[0] == results[1]).all()


def test_a_window_without_values_is_skipped(prior, monkeypatch):
    broken = NOISY.copy()
    broken[:, 20:] = np.nan
    seen = []
    real = windows.restore_with
    monkeypatch.setattr(windows, "restore_with", lambda *a, **k: seen.append(1) or real(*a, **k))
    found, _ = large(broken, prior)
    assert len(seen) == 2  # of 4
    assert np.isfinite(found[:, :20]).all()
    assert np.isnan(found[:, 20:]).all()


def test_inpainting_fills_what_the_mask_says(gray):
    clean = PHOTO[..., 0] / np.float32(255)
    mask = np.ones(clean.shape, np.uint8)
    mask[20:26, 10:50] = 0
    broken = np.where(mask > 0, clean, np.nan)
    broken[40:45, 50:55] = np.nan  # not to be filled
    np.save("mask.npy", 255 * mask)
    found, _ = large(broken, gray, task="inpaint", mask="mask.npy", noise=0.01, steps=10)
    filled = found[mask == 0]
    assert np.isfinite(filled).all()
    assert np.abs(filled - clean[mask == 0]).mean() < clean[mask == 0].std()
    assert np.isnan(found[40:45, 50:55]).all()
    assert np.isfinite(found).sum() == clean.size - 25
    np.save("mask.npy", 0 * mask + (np.arange(60) > 45))
    with pytest.raises(InvalidArgument, match=r"larger --window.* got none in rows 0 to 39, col"):
        large(broken, gray, task="inpaint", mask="mask.npy", name="hole")


def test_the_operators_with_missing_values():
    """A of `Partial` is that of the task where values are measured, and 0 elsewhere."""
    x = torch.rand(1, 3, 24, 24, dtype=torch.float64)
    kernel = torch.tensor([[0.0, 0.1, 0], [0.3, 0.3, 0.2], [0, 0.1, 0]], dtype=torch.float64)
    valid = torch.rand(3, 24, 24) < 0.7
    problem = Partial(Deblur(kernel), valid).problem(x[0], 0.1)
    canvas = torch.zeros(1, *problem.x_shape, dtype=torch.float64)
    canvas[..., :24, :24] = x
    expected = np.stack([convolve(c, kernel.numpy(), mode="constant") for c in canvas[0].numpy()])
    a = problem.operator(canvas)[0, :, 1:23, 1:23].numpy()
    np.testing.assert_allclose(
        a, (valid.numpy() * expected[:, :24, :24])[:, 1:23, 1:23], atol=1e-12
    )
    assert int(problem.count) == int(valid.sum())
    small = Partial(SuperResolve(2), valid[:, :12, :12]).problem(x[0, :, :12, :12], 0.1)
    blocks = x.reshape(3, 12, 2, 12, 2).mean((2, 4))
    np.testing.assert_allclose(
        small.operator(x)[0].numpy(), (valid[:, :12, :12] * blocks).numpy(), atol=1e-12
    )


class Ends(Watcher):
    """Ends the run after some windows."""

    def __init__(self, after: int) -> None:
        self.left, self.total, self.earlier = after, 0, 0

    def begin(self, total: int, earlier: int, notes: tuple[str, ...]) -> None:
        self.total, self.earlier = total, earlier

    def __call__(self, box: Box) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def test_the_result_does_not_depend_on_interruptions(prior):
    more = {"task": "sr", "scale": 2, "steps": 3, "realism": 1.0}
    whole, _ = large(NOISY, prior, name="whole", **more)
    ended = 0
    for _ in range(20):
        try:
            found, _ = large(NOISY, prior, Ends(1), again=ended > 0, **more)
            break
        except KeyboardInterrupt:
            ended += 1
            assert not Path("out.npy").exists()
            for path in list(Path("out.npy.parts").glob("window-*"))[:1]:
                path.unlink()  # lost in a power cut, and made again
    assert ended >= 2
    assert (found == whole).all()
    last = Ends(100)
    large(NOISY, prior, last, again=True, **more)
    assert (last.total, last.earlier) == (0, 0)  # nothing was begun


def test_seeds_and_places_give_other_draws(prior):
    flat = np.full((48, 80, 3), 0.5, np.float32)
    more = {"task": "sr", "scale": 2, "steps": 3, "realism": 1.0, "window": 48}
    found, _ = large(flat, prior, name="first", **more)
    other, _ = large(flat, prior, name="other", seed=1, **more)
    assert (found != other).mean() > 0.9
    assert np.abs(found[:, :32] - found[:, 64:96]).mean() > 0.01  # two windows alike


def test_another_run_is_refused_with_the_difference(prior):
    with pytest.raises(KeyboardInterrupt):
        large(NOISY, prior, Ends(1))
    with pytest.raises(PictureError, match=r"out.npy: .*--force.* got noise 0.1 -> 0.2"):
        large(NOISY, prior, noise=0.2)
    with pytest.raises(PictureError, match="got another source"):
        large(NOISY[::-1], prior)
    large(NOISY, prior, noise=0.2, force=True)
    with pytest.raises(
        PictureError, match=r"one of another run: noise 0.2 -> 0.3; window 40 -> 64"
    ):
        large(NOISY, prior, noise=0.3, window=64)


def test_a_kill_while_parts_are_discarded(prior, monkeypatch):
    """Windows without their plan are not taken for those of another one."""
    parts, unlink = Parts(Path("out.npy")), Path.unlink
    with pytest.raises(KeyboardInterrupt):
        large(NOISY, prior, Ends(3))
    names = {path.name for path in parts.folder.iterdir()}
    assert {"plan.json", "finished.json", "result.npy", "window-0-1-0.npy"} <= names
    left = len(names)
    while left > 1:
        unlinks = iter([True])

        def one(path: Path, unlinks: Iterator[bool] = unlinks, **more: bool) -> None:
            if not next(unlinks, False):
                raise KeyboardInterrupt
            unlink(path, **more)

        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            patch.setattr(Path, "unlink", one)
            parts.clear()
        names = {path.name for path in parts.folder.iterdir()}
        assert "finished.json" not in names
        assert "plan.json" in names or names == {"lock"}
        assert len(names) == left - 1
        left = len(names)
    with pytest.raises(KeyboardInterrupt):
        large(NOISY, prior, Ends(1), again=True)
    (parts.folder / "plan.json").unlink()
    found, _ = large(NOISY, prior, noise=0.2)
    whole, _ = large(NOISY, prior, noise=0.2, name="whole")
    assert (found == whole).all()


@pytest.mark.slow
def test_channels_apart_are_gray_pictures(prior, gray):
    apart, _ = large(NOISY, gray, channels=Channels.APART, window=64)
    alone = [large(NOISY[..., k], gray, name=f"{k}", window=64)[0] for k in range(3)]
    np.testing.assert_allclose(apart, np.stack(alone, -1), atol=1e-6)
    stack = np.moveaxis(NOISY, -1, 0)
    together, _ = large(stack, prior, channels=Channels.COLOR, name="stack", window=64)
    color, _ = large(NOISY, prior, name="color", window=64)
    np.testing.assert_allclose(np.moveaxis(together, 0, -1), color, atol=1e-6)


def test_a_window_that_diverges_ends_the_run(prior, monkeypatch):
    monkeypatch.setattr(Smooth, "denoise", lambda self, x, sigma: x * torch.nan)
    with pytest.raises(Diverged, match="window of rows 0 to 39, columns 0 to 39 diverged"):
        large(NOISY, prior)
    assert not Path("out.npy").exists()


def test_the_noise_is_estimated_once_for_all_windows(prior):
    _, result = large(NOISY, prior, noise=None)
    assert result.record["noise_estimated"]
    assert result.record["noise"] == pytest.approx(0.1, rel=0.15)
