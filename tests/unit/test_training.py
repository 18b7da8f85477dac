"""Training scripts: batches, weights of noise levels, and interrupted runs."""

from __future__ import annotations

import csv
import json
import signal
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tests.tiny import save_tiny

from reddiff.priors import photo_prior

TRAINING = Path(__file__).parents[2] / "training"
SIDE = 16


@pytest.fixture(scope="module", autouse=True)
def scripts():
    sys.path.insert(0, str(TRAINING))
    yield
    sys.path.remove(str(TRAINING))


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """Two scenes and a photo, each pixel of which says (row, column, which image)."""
    index, pixels = [], []
    for number, (height, width, whole) in enumerate([(16, 16, 1), (16, 16, 1), (40, 50, 0)]):
        rows, columns = np.mgrid[:height, :width]
        image = np.stack([rows, columns, np.full_like(rows, number)], axis=-1)
        index.append((sum(map(len, pixels)), height, width, whole))
        pixels.append(image.astype(np.uint8).reshape(-1))
    path = tmp_path_factory.mktemp("training") / "cache.safetensors"
    tensors = {"pixels": np.concatenate(pixels), "index": np.array(index)}
    save_file({k: torch.from_numpy(v) for k, v in tensors.items()}, path)
    return path


def views(square: np.ndarray, turned: bool) -> list[np.ndarray]:
    """The images that a square may have become."""
    flips = [square, square[:, ::-1]]
    return [np.rot90(f, k) for f in flips for k in range(4 if turned else 1)]


def test_a_batch_is_crops_of_photos_and_whole_scenes(cache):
    from reddiff.training.batches import Data

    torch.manual_seed(0)
    whole = np.stack([*np.mgrid[:40, :50]], axis=-1)
    scenes, kinds = 0, set()
    data = Data.of_cache(cache, [SIDE], scenes=0.5)
    for _ in range(20):
        batch = data.batch(8)
        assert batch.shape == (8, 3, SIDE, SIDE)
        images = ((batch + 1) * 127.5).round().permute(0, 2, 3, 1).numpy().astype(int)
        for image in images:
            number, top, left = image[0, 0, 2], image[..., 0].min(), image[..., 1].min()
            assert (image[..., 2] == number).all()
            scenes += number < 2
            square = whole[top : top + SIDE, left : left + SIDE]
            found = [np.array_equal(image[..., :2], v) for v in views(square, number == 2)]
            assert sum(found) == 1
            kinds.add((number == 2, found.index(True)))
    assert scenes == 80
    assert len(kinds) == 8 + 2  # every way to turn a photo, and both of a scene


def test_patches_have_as_many_pixels_whatever_their_side(cache):
    from reddiff.training.batches import Data

    torch.manual_seed(0)
    shapes = {tuple(Data.of_cache(cache, [16, 32], scenes=1.0).batch(8).shape) for _ in range(20)}
    assert shapes == {(8, 3, 16, 16), (2, 3, 32, 32)}


def test_divided_by_their_means_all_levels_count_alike():
    from reddiff.training.batches import draw_sigma
    from reddiff.training.losses import LevelMeans

    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    means = LevelMeans()
    for _ in range(150):
        sigma = draw_sigma(64, -0.7, 1.2, 0.2)
        true = 0.1 + 0.7 / (1 + (sigma / 0.02) ** 2)  # from 0.8 at low noise to 0.1
        noise = torch.rand(64, generator=generator) + 0.5
        means.update(sigma, true * noise)
    levels = torch.tensor([0.005, 0.02, 0.1, 0.4, 1.5, 10.0])
    true = 0.1 + 0.7 / (1 + (levels / 0.02) ** 2)
    estimate = means.update(levels, true)
    torch.testing.assert_close(estimate, true, rtol=0.2, atol=0)


def test_the_first_losses_are_their_own_means():
    from reddiff.training.losses import LevelMeans

    losses = torch.tensor([0.7, 0.1])
    estimate = LevelMeans().update(torch.tensor([0.005, 5.0]), losses)
    torch.testing.assert_close(estimate, losses, rtol=1e-3, atol=0)


def test_a_gradient_much_longer_than_usual_is_shortened():
    from reddiff.priors import UNet
    from reddiff.training.optimizer import Optimizer

    net = UNet(channels=[4, 4], blocks=[1, 1])
    optimizer = Optimizer(net, muon=False, clip=2.0)
    norms = []
    for length in (1.0, 1.0, 1.0, 100.0, 1.0):
        for p in net.parameters():
            p.grad = torch.zeros_like(p)
        net.tail.bias.grad[0] = length
        optimizer.rate(1e-3)
        optimizer.step()
        norms.append(float(net.tail.bias.grad.norm()))
    assert norms == pytest.approx([1, 1, 1, 2, 1], rel=1e-5)


def options(cache: Path, out: Path, *more: str) -> list[str]:
    sizes = ["--channels", "8", "12", "--blocks", "1", "1", "--patch", "16", "--batch", "2"]
    return ["--cache", str(cache), "--out", str(out), "--no-bf16", *sizes, *more]


def run(arguments: list[str]) -> None:
    from train import Run, parse

    args = parse(arguments)
    args.out.mkdir(exist_ok=True)
    Run(args).train()


@pytest.mark.parametrize("muon", ["--muon", "--no-muon"])
def test_an_interrupted_run_ends_as_if_it_had_not_been(cache, tmp_path, muon):
    kind = [muon, "--cooldown", "0.25"]  # the rate is constant up to the interruption
    run(options(cache, tmp_path / "a", "--steps", "4", *kind))
    for steps in ("2", "4"):
        run(options(cache, tmp_path / "b", "--steps", steps, *kind))
    a, b = (load_file(tmp_path / n / "checkpoint.safetensors") for n in "ab")
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_writes_weights_that_the_library_loads(cache, tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    out = tmp_path / "run"
    more = ["--steps", "2", "--every-steps", "1", "--eval", str(tmp_path / "picture.png")]
    run(options(cache, out, *more, "--no-muon"))
    prior = photo_prior(out / "weights.safetensors")
    assert [block.first.in_channels for block in prior.net.middle] == [12]
    rows = list(csv.DictReader((out / "log.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == [0, 1, 2]
    assert float(rows[-1]["cpu"]) > 0


def test_a_run_from_photo_starts_with_it(cache, tmp_path):
    from evaluate import denoiser
    from train import Run, parse

    args = parse(["--cache", str(cache), "--out", str(tmp_path), "--start", "photo", "--no-muon"])
    x = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    photo = photo_prior()
    photo.compute = None
    with torch.no_grad():
        estimate = denoiser(Run(args).net, autocast=False)(x, 0.3)
    torch.testing.assert_close(estimate, photo(x, 0.3), atol=1e-4, rtol=0)


def test_muon_takes_the_steps_of_torchs(scripts):
    from reddiff.training.optimizer import Muon

    if not hasattr(torch.optim, "Muon"):
        pytest.skip("torch.optim.Muon came with torch 2.9")
    draw = torch.Generator().manual_seed(0)
    shapes = [(8, 72), (8, 72), (24, 16)]
    ours = [torch.nn.Parameter(torch.randn(shape, generator=draw)) for shape in shapes]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    muon = Muon(ours)
    muon.param_groups[0]["lr"] = torch.tensor(0.01)
    wanted = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    before = [p.detach().clone() for p in ours]
    for _ in range(3):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=draw)
            b.grad = a.grad.clone()
        muon.step()
        wanted.step()
    for start, a, b in zip(before, ours, theirs, strict=True):
        a, b = a.detach(), b.detach()
        assert float((a - b).norm()) < 0.05 * float((b - start).norm())  # .01: bfloat16


def test_a_pack_fits_and_keeps_the_credits(tmp_path):
    from pack import pack
    from prepare import contents, images

    source = tmp_path / "photos"
    source.mkdir()
    random = np.random.default_rng(0)
    for i in range(20):
        pixels = random.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(source / f"{i:02}.png")
    (source / "credits.csv").write_text("all mine")
    size = (source / "00.png").stat().st_size
    limit = 8 * size + 40_000
    count = pack([source], tmp_path / "photos.tar", limit, seed=0)
    assert 6 <= count < 20
    assert (tmp_path / "photos.tar").stat().st_size <= limit
    assert tarfile.is_tarfile(tmp_path / "photos.tar")
    packed = dict(contents(tmp_path / "photos.tar"))
    assert packed.pop("photos/credits.csv") == b"all mine"
    assert all((tmp_path / name).read_bytes() == data for name, data in packed.items())
    assert sum(1 for _ in images(tmp_path / "photos.tar")) == count


def test_a_run_asked_to_end_keeps_what_it_has(cache, tmp_path, monkeypatch):
    import train

    def step(self: train.Run, x: torch.Tensor) -> torch.Tensor:
        if self.steps == 2:
            signal.raise_signal(signal.SIGTERM)
        return plain(self, x)

    plain = train.Run.step
    monkeypatch.setattr(train.Run, "step", step)
    before = signal.getsignal(signal.SIGTERM)
    run(options(cache, tmp_path, "--no-muon"))  # without a budget
    assert signal.getsignal(signal.SIGTERM) is before
    with safe_open(tmp_path / "checkpoint.safetensors", "pt") as file:
        assert json.loads(file.metadata()["progress"])["step"] == 3
    rows = csv.DictReader((tmp_path / "log.csv").read_text().splitlines())
    assert [int(row["step"]) for row in rows] == [0, 3]


def test_a_measured_error_spectrum_stays_with_the_weights(tmp_path, monkeypatch, capsys):
    import errors

    weights, out = save_tiny(tmp_path / "tiny.safetensors"), tmp_path / "out.safetensors"
    assert photo_prior(weights).errors is None
    options = [str(weights), "--count", "4", "--size", "16", "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["errors.py", *options])
    errors.main()  # on its own samples
    spectrum = photo_prior(out).errors
    assert spectrum is not None
    assert spectrum.power.shape == (12, 3, len(spectrum.frequencies))
    assert capsys.readouterr().out.count("error over s^2") == 12
