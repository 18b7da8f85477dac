"""Arguments of `restore` and `degrade`: those of the command line, and Python objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

import reddiff
from reddiff import InvalidArgument, PictureError, ReddiffError, WeightsError
from reddiff.images.arguments import open_image, outside
from reddiff.images.conversions import take_kernel, take_mask, take_number, take_whole
from reddiff.images.masks import make_mask
from reddiff.images.tasks import Inpaint
from reddiff.operators import gaussian_psf

IMAGE = np.ascontiguousarray(data.astronaut()[100:132, 180:220])
SIZE = IMAGE.shape[:2]
HOLE = np.ones(SIZE)
HOLE[10:16, 12:20] = 0
QUICK = {"noise": 0.05, "steps": 2}

pytestmark = pytest.mark.usefixtures("untyped")


@pytest.fixture(scope="module")
def inpainted() -> torch.Tensor:
    mask = torch.from_numpy(HOLE)[None].float()
    return reddiff.restore(IMAGE, task="inpaint", mask=mask, **QUICK).pixels


@pytest.mark.parametrize(
    "mask",
    [
        HOLE,
        HOLE[None],
        HOLE[None, None],
        HOLE[..., None],
        HOLE > 0,
        HOLE.astype(int),
        (HOLE * 255).astype(np.uint8),
        np.repeat((HOLE * 255).astype(np.uint8)[..., None], 3, 2),
        torch.from_numpy(HOLE) > 0,
        torch.from_numpy(HOLE).expand(3, -1, -1),
        Image.fromarray((HOLE * 255).astype(np.uint8)),
        Image.fromarray(HOLE > 0),
        np.ma.masked_array(HOLE),
    ],
    ids=lambda m: f"{type(m).__name__}-{getattr(m, 'dtype', getattr(m, 'mode', ''))}",
)
def test_masks_of_any_kind(mask):
    found = take_mask(mask, SIZE, 0)
    assert torch.equal(found, torch.from_numpy(HOLE)[None].float())


def test_masks_from_texts_and_files(tmp_path: Path):
    assert torch.equal(take_mask("random:0.5", SIZE, 3), make_mask("random:0.5", SIZE, seed=3))
    path = tmp_path / "mask.png"
    Image.fromarray((HOLE * 255).astype(np.uint8)).save(path)
    for name in (path, str(path)):
        assert torch.equal(take_mask(name, SIZE, 0)[0], torch.from_numpy(HOLE).float())
    clear = np.dstack([np.full((*SIZE, 3), 255), 255 * HOLE]).astype(np.uint8)
    assert torch.equal(take_mask(Image.fromarray(clear), SIZE, 0)[0].double(), torch.tensor(HOLE))


@pytest.mark.parametrize(
    "mask",
    [
        np.ones((5, 7)),
        np.ones((2, *SIZE, 2)),
        np.full(SIZE, 0.5),
        np.full(SIZE, np.nan),
        np.array(["a", "b"]),
        [[1, 0]],
        7,
    ],
    ids=str,
)
def test_what_is_no_mask_is_named(mask):
    with pytest.raises(InvalidArgument, match=r"^mask: expected") as caught:
        reddiff.restore(IMAGE, task="inpaint", mask=mask, **QUICK)
    assert len(str(caught.value)) < 200


def test_missing_pixels_are_nan_or_masked(inpainted):
    nan = np.where(HOLE[..., None] > 0, IMAGE / 255.0, np.nan)
    mask = torch.from_numpy(HOLE)[None].float()
    hidden = np.ma.masked_array(IMAGE, np.broadcast_to(HOLE[..., None] == 0, IMAGE.shape))
    tensor = torch.from_numpy(nan).permute(2, 0, 1)
    for image, given in [(nan, mask), (nan, None), (tensor, HOLE), (hidden, None), (hidden, mask)]:
        out = reddiff.restore(image, task="inpaint", mask=given, **QUICK).pixels
        torch.testing.assert_close(out, inpainted, atol=1e-5, rtol=0)
    out = reddiff.restore(hidden, task=Inpaint(torch.ones(1, *SIZE)), **QUICK).pixels
    assert torch.equal(out, inpainted)
    assert torch.equal(reddiff.restore(nan, task=Inpaint(mask), **QUICK).pixels, inpainted)


def test_a_masked_array_with_nothing_masked_is_an_array():
    plain = reddiff.restore(IMAGE, task="denoise", noise=0.05).pixels
    assert torch.equal(
        reddiff.restore(np.ma.masked_array(IMAGE), task="denoise", noise=0.05).pixels, plain
    )


def test_missing_pixels_that_a_task_needs_are_refused():
    nan = np.where(HOLE[..., None] > 0, IMAGE / 255.0, np.nan)
    hidden = np.ma.masked_array(IMAGE, np.broadcast_to(HOLE[..., None] == 0, IMAGE.shape))
    for image, words in ((nan, "nan or inf in 48 pixels"), (hidden, "48 masked pixels")):
        with pytest.raises(InvalidArgument, match=f"^image: expected .*inpaint.*got {words}"):
            reddiff.restore(image, task="denoise", **QUICK)
        with pytest.raises(InvalidArgument, match=f"^image: .*got {words}"):
            reddiff.degrade(image, task="denoise")
    with pytest.raises(InvalidArgument, match=r"where the mask keeps .* got nan or inf in 48"):
        reddiff.restore(nan, task="inpaint", mask=np.ones(SIZE), **QUICK)


@pytest.mark.parametrize(
    "kernel",
    [
        gaussian_psf(1.0),
        gaussian_psf(1.0).numpy(),
        gaussian_psf(1.0)[None, None].float(),
        gaussian_psf(1.0).numpy()[..., None],
        np.asarray(3 * gaussian_psf(1.0)),
        "gaussian:1",
    ],
    ids=lambda k: f"{type(k).__name__}-{tuple(getattr(k, 'shape', ()))}",
)
def test_kernels_of_any_kind(kernel):
    found = take_kernel(kernel, [])
    torch.testing.assert_close(found, gaussian_psf(1.0), atol=2e-3, rtol=0)


def test_kernels_from_files(tmp_path: Path):
    path = tmp_path / "k.npy"
    np.save(path, gaussian_psf(1.0).numpy())
    for name in (path, str(path)):
        torch.testing.assert_close(take_kernel(name, []), gaussian_psf(1.0))
    square = Image.fromarray(np.full((5, 5), 200, np.uint8))
    torch.testing.assert_close(take_kernel(square, []), torch.full((5, 5), 0.04).double())
    notes: list[str] = []
    take_kernel(torch.ones(4, 4) / 16, notes)
    assert any("even side" in note for note in notes)
    with pytest.raises(InvalidArgument, match=r"^kernel: "):
        take_kernel([[1.0]], [])  # type: ignore[arg-type]


def test_pictures_and_priors_from_files(tmp_path: Path):
    path = tmp_path / "a.png"
    Image.fromarray(IMAGE).save(path)
    wanted = reddiff.restore(IMAGE, task="denoise", noise=0.05).pixels
    for name in (path, str(path)):
        assert torch.equal(reddiff.restore(name, task="denoise", noise=0.05).pixels, wanted)
        assert torch.equal(
            reddiff.degrade(name, task="denoise").pixels,
            reddiff.degrade(IMAGE, task="denoise").pixels,
        )
    with pytest.raises(PictureError, match=r"none\.png"):
        reddiff.restore(tmp_path / "none.png", task="denoise")
    with pytest.raises((PictureError, WeightsError), match=r"x\.safetensors"):
        reddiff.restore(IMAGE, task="denoise", prior=tmp_path / "x.safetensors", **QUICK)
    with pytest.raises(InvalidArgument, match=r"^prior: "):
        reddiff.restore(IMAGE, task="denoise", prior=torch.nn.Identity(), **QUICK)


def test_jpeg_files_bring_their_tables(tmp_path: Path):
    path = tmp_path / "a.jpg"
    Image.fromarray(IMAGE).save(path, quality=20)
    out = reddiff.restore(path, task="jpeg", steps=2)
    assert torch.equal(out.pixels, reddiff.restore(path, task="jpeg:20", steps=2).pixels)
    with pytest.raises(InvalidArgument, match=r"^mask: expected none"):
        reddiff.restore(path, task="jpeg", mask=HOLE)


def test_operators_are_tasks():
    operator = reddiff.operators.BlockMean(2)
    y = reddiff.degrade(IMAGE, task=operator)
    assert y.size == (16, 20)
    assert reddiff.restore(y, task=operator, **QUICK).pixels.shape == (3, 32, 40)


def test_numbers_of_any_kind():
    assert [take_whole("seed", v) for v in (3, np.int64(3), np.array(3), torch.tensor(3))] == [
        3
    ] * 4
    levels = (0.5, np.float32(0.5), np.array(0.5), torch.tensor(0.5))
    assert [take_number("noise", v) for v in levels] == [0.5] * 4
    for bad in (2.5, True, "3", np.array([1, 2])):
        with pytest.raises(InvalidArgument, match=r"^scale: expected an integer"):
            take_whole("scale", bad)
    for bad in ("x", [1], np.ones(4), True):
        with pytest.raises(InvalidArgument, match=r"^noise: expected a number"):
            reddiff.restore(IMAGE, task="denoise", noise=bad)
    one = {"task": "sr", "scale": np.int64(2), "seed": np.uint8(1), "steps": np.int32(2)}
    out = reddiff.restore(IMAGE[:16, :16], **one, noise=np.float32(0.05)).pixels
    same = {"task": "sr", "scale": 2, "seed": 1, "steps": 2}
    assert torch.equal(out, reddiff.restore(IMAGE[:16, :16], **same, noise=0.05).pixels)


def test_floats_that_noise_carries_out_of_range():
    noise = 0.1 * np.random.default_rng(0).standard_normal(IMAGE.shape)
    y = IMAGE / 255.0 + noise
    assert y.min() < 0
    out = reddiff.restore(y, task="denoise", noise=0.1)
    (note,) = [n for n in out.notes if "outside [0, 1]" in n]
    assert "treated as noise" in note
    assert 0.8 < out.residual_ratio < 1.1
    assert reddiff.degrade(y, task="denoise").pixels.min() == 0
    # what noise put there is worth as much as the rest: cutting it off is no better
    truth = torch.from_numpy(IMAGE / 255.0).permute(2, 0, 1)
    cut = reddiff.restore(y.clip(0, 1), task="denoise", noise=0.1).pixels
    error, error_cut = ((p - truth).square().mean().sqrt() for p in (out.pixels, cut))
    assert error < 1.05 * error_cut


def test_values_that_noise_does_not_explain_are_counted():
    y = IMAGE / 255.0
    y[3, 4] = 1.9
    out = reddiff.restore(y, task="denoise", noise=0.02)
    (note,) = [n for n in out.notes if "outside [0, 1]" in n]
    assert note.startswith("3 of 3840 values lie further outside [0, 1] than the noise explains")
    assert "1.9" in note
    assert "mask them" in note
    assert outside(torch.rand(3, 4, 4), torch.ones(3, 4, 4, dtype=torch.bool), 0.1) == []


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (IMAGE.astype(float), "got 1 to 251 .*divide 8-bit values by 255"),
        (IMAGE.astype(np.float32) * 257, "white level, 65535"),
        (torch.from_numpy(IMAGE).permute(2, 0, 1).float(), "divide 8-bit values by 255"),
        (np.where(HOLE[..., None] > 0, IMAGE / 255.0, 1e9), "144 of 3840 values beyond; .*mask"),
        (IMAGE / 255.0 - 7, "rescale"),
        (np.full((4, 4), np.nan), "nan or inf in 16 pixels"),
        (IMAGE.astype(np.int32), "int32"),
        (3, "a int"),
    ],
    ids=range(8),
)
def test_what_is_no_picture_is_named(image, words):
    for call in (reddiff.restore, reddiff.degrade):
        with pytest.raises(ReddiffError, match=f"^image: expected .*{words}") as caught:
            call(image, task="denoise", noise=0.05)
        assert len(str(caught.value)) < 250


def test_floats_in_range_are_as_before():
    y = torch.rand(3, 8, 8)
    assert torch.equal(open_image(y).picture.pixels, y)
    assert torch.equal(open_image(y + 1e-6).picture.pixels, (y + 1e-6).clamp(0, 1))
