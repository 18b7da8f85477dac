"""Words with something after a colon: one rule for masks, kernels, tasks and the files of jobs."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from reddiff import InvalidArgument, PictureError
from reddiff.bench.spec import Task as BenchTask
from reddiff.bench.tasks import check_task
from reddiff.images.io import Picture, read_kernel, write_picture
from reddiff.images.io.inputs import split_member
from reddiff.images.jobs import Job
from reddiff.images.masks import make_mask
from reddiff.images.settings import Settings
from reddiff.images.tasks import make_task
from reddiff.images.words import split_word

mask = partial(make_mask, size=(8, 8))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("box:3", ("box", "3")),
        ("box:", ("box", "")),
        ("box", ("box", None)),
        ("a:b:c", ("a", "b:c")),
        ("", ("", None)),
    ],
)
def test_a_word_is_split_at_its_first_colon(text, parts):
    assert split_word(text) == parts


def test_an_array_of_a_file_is_no_word():
    assert split_member("disk.npz:psf") == ("disk.npz", "psf")
    assert split_member(r"C:\a\disk.NPZ:psf") == (r"C:\a\disk.NPZ", "psf")
    assert split_member("disk.npz") == ("disk.npz", None)
    with pytest.raises(PictureError, match=r"disk\.npz: expected"):
        read_kernel("disk.npz:psf")


@pytest.mark.parametrize(
    ("make", "text", "near"),
    [
        (mask, "radnom:0.5", "random"),
        (read_kernel, "guassian:1", "gaussian"),
        (make_task, "denoize", "denoise"),
        (make_task, "jpg:10", "jpeg"),
        (lambda text: check_task("a", BenchTask(task=text)), "phaze:2", "phase"),
    ],
)
def test_the_nearest_name_is_offered(make, text, near):
    with pytest.raises(InvalidArgument, match=rf"did you mean {near}\?"):
        make(text)


def test_a_name_alone_is_the_word_and_a_file_of_that_name_has_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_picture(Path("box.png"), Picture(torch.ones(1, 8, 8)))
    Path("box.png").rename("box")
    Path("boxs:3").write_bytes(Path("box").read_bytes())
    with pytest.raises(InvalidArgument, match="mask: expected box:SIDE, got box:"):
        mask("box")
    assert mask("./box").all()
    assert mask("boxs:3").all()  # a file that exists is no misspelled word


def job(**settings: str) -> Job:
    return Job("in.png", "out.png", Settings(**{"task": "denoise", **settings}))


def test_a_job_reads_a_file_exactly_where_the_word_is_none():
    words = job(task="inpaint", mask="box:3", kernel="levin", prior="photo")
    assert set(words.files) == {"source"}
    files = job(task="a.py:op", mask="./box", kernel="k.npz:psf", prior="net.safetensors")
    assert {name: str(path) for name, path in files.files.items()} == {
        "source": "in.png",
        "task": "a.py",
        "mask": "box",
        "kernel": "k.npz",
        "prior": "net.safetensors",
    }
    moved = files.moved(lambda file: f"there/{file}")
    assert moved.settings.kernel == "there/k.npz:psf"
    assert moved.settings.task == "there/a.py:op"


def test_a_task_without_numbers_refuses_them():
    with pytest.raises(InvalidArgument, match="task: expected circular-blur alone"):
        check_task("a", BenchTask(task="circular-blur:5", kernel="uniform:3"))
