"""Tasks of every operator, and operators of the user's own, from the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from commands import run
from reddiff.images.io import read_picture
from reddiff.images.tasks import load_operator
from reddiff.operators import LinearOperator, Orientation

MINE = """
import torch

def darker(x):
    r = torch.linspace(0.3, 1, x.shape[-1])
    return r * x

def squared(x):
    return x.clamp(min=0) ** 2

def normalized(x):
    return x / x.norm()

def rounded(x):
    return (10 * x).round()
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def psnr(text: str) -> float:
    found = re.search(r"PSNR (\S+) dB", text)
    assert found is not None, text
    return float(found[1])


TASKS = {
    "brush": ["--task", "inpaint", "--mask", "brush:10-20"],
    "bicubic": ["--task", "sr:bicubic", "--scale", "2"],
    "levin": ["--task", "deblur", "--kernel", "levin:5"],
    "shake": ["--task", "deblur", "--kernel", "shake:9,1"],
    "defocus": ["--task", "deblur", "--kernel", "disk:2"],
    "demosaic": ["--task", "demosaic:GRBG"],
    "hdr": ["--task", "hdr:1.5"],
    "quantize": ["--task", "quantize:6"],
    "jpeg": ["--task", "jpeg:10"],
}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_degrades_and_restores(name, photo):
    words = TASKS[name]
    bad, out = photo.with_name("bad.png"), photo.with_name("out.png")
    run("degrade", photo, "-o", bad, *words, "--noise", 0.01)
    if name in ("brush", "levin", "shake", "defocus"):
        parameter = words[2]
        words = [*words[:2], parameter, json.loads(Path(f"{bad}.json").read_text())[parameter[2:]]]
    better = psnr(run("restore", bad, "-o", out, *words, "--steps", 12, "--truth", photo))
    assert read_picture(out).size == read_picture(photo).size
    if name != "bicubic":  # which has another size
        same = psnr(run("restore", bad, "-o", out, "--task", "denoise", "--noise", 0, "--steps", 1,
                        "--truth", photo, "--force"))  # fmt: skip
        assert better > same + 0.2


def test_a_jpeg_file_says_its_own_quality(photo, tmp_path):
    bad = tmp_path / "bad.jpg"
    Image.open(photo).save(bad, quality=10)
    out = tmp_path / "out.png"
    run("restore", bad, "-o", out, "--task", "jpeg", "--steps", 5)
    assert "jpeg:QUALITY" in run("restore", photo, "-o", out, "--task", "jpeg:", "--force", code=3)
    assert "JPEG" in run("restore", photo, "-o", out, "--task", "jpeg", "--force", code=3)


@pytest.mark.parametrize("task", ["jpeg", "jpeg:10"])
def test_a_turned_jpeg_file_is_restored_like_the_stored_one(photo, tmp_path, task):
    with Image.open(photo) as picture:
        small = picture.crop((0, 0, 43, 37))
    exif = Image.Exif()
    exif[274] = 6
    small.save(tmp_path / "plain.jpg", quality=10)
    small.save(tmp_path / "turned.jpg", quality=10, exif=exif)
    for name in ("plain", "turned"):
        source, out = tmp_path / f"{name}.jpg", tmp_path / f"{name}.png"
        run("restore", source, "-o", out, "--task", task, "--steps", 2)
    plain, turned = (read_picture(tmp_path / f"{n}.png").pixels for n in ("plain", "turned"))
    assert torch.equal(turned, Orientation.TURNED_90.upright(plain))


@pytest.mark.parametrize("name", ["darker", "squared"])
def test_an_operator_in_a_file_is_a_task(name, photo, mine):
    bad, out = photo.with_name("bad.png"), photo.with_name("out.png")
    task = ("--task", f"{mine}:{name}")
    run("degrade", photo, "-o", bad, *task, "--noise", 0.01)
    text = run("restore", bad, "-o", out, *task, "--steps", 8, "--truth", photo)
    assert psnr(text) > 25
    again = photo.with_name("again.png")
    run("replay", f"{out}.json", *task, "-o", again)
    mine.write_text(MINE + "\n")
    text = run("replay", f"{out}.json", *task, "-o", again, "--force", code=3)
    assert "task" in text


KINDS = """
import numpy as np
import scipy.sparse
import torch

matrix = np.eye(4, dtype=np.float32)[:3]
sparse = scipy.sparse.csr_matrix(matrix)
vectors = scipy.sparse.linalg.aslinearoperator(matrix)
module = torch.nn.Identity()
module.adjoint = lambda y: y

class Physics(torch.nn.Module):
    def A(self, x):
        return 2 * x

    def A_adjoint(self, y):
        return 2 * y

physics = Physics()
network = torch.nn.Conv2d(3, 3, 3, padding=1, bias=False)

class Half:
    def __call__(self, x):
        return x / 2

half = Half()
"""


@pytest.mark.parametrize("name", ["matrix", "sparse", "vectors", "module", "physics"])
def test_whatever_an_operator_can_be_made_of_is_taken_from_a_file(name, tmp_path):
    path = tmp_path / "kinds.py"
    path.write_text(KINDS)
    operator = load_operator(f"{path}:{name}")
    assert isinstance(operator, LinearOperator)
    assert operator(torch.ones(2, 4)).shape == (2, 4 if name in ("module", "physics") else 3)


@pytest.mark.parametrize("name", ["network", "half"])
def test_a_network_or_callable_object_is_tested_as_a_function(name, tmp_path):
    path = tmp_path / "kinds.py"
    path.write_text(KINDS)
    run("check", f"{path}:{name}", "--shape", "3,8,8")
    assert "the class Half" in run("check", f"{path}:Half", "--shape", "3,8,8", code=3)


def test_check_prints_a_table(mine):
    text = run("check", f"{mine}:darker", "--shape", "3,16,16")
    assert [line.split()[1] for line in text.splitlines()[:7]] == ["ok"] * 7
    text = run("check", f"{mine}:rounded", "--shape", "3,16,16", code=3)
    assert "straight-through" in text
    assert "independently" in run("check", f"{mine}:normalized", "--shape", "3,16,16", code=3)
    assert "--shape" in run("check", f"{mine}:darker", "--shape", "3x16", code=3)
    assert "darker" in run("check", f"{mine}:lighter", "--shape", "3,16,16", code=3)


def test_tasks_lists_tasks_masks_and_kernels():
    text = run("tasks")
    for word in ("inpaint", "demosaic", "jpeg", "FILE.py:NAME", "brush:", "levin:", "--kernel"):
        assert word in text
