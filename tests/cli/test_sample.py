"""`reddiff sample`, with few steps."""

from __future__ import annotations

import pytest

import commands
from reddiff.images.io import read_picture

FAST = ("--prior", "ffdnet", "--steps", 3)


def run(*words: object, code: int = 0) -> str:
    return commands.run("sample", *words, code=code)


@pytest.mark.parametrize("solver", ["heun", "ddim", "ddpm"])
def test_it_draws_pictures(tmp_path, solver):
    out = tmp_path / "out"
    text = run("-o", out, "--count", 2, "--size", "12x16", "--solver", solver, *FAST)
    assert "2 of 12x16 pixels" in text
    assert f"{solver}, 3 steps" in text
    files = sorted(out.iterdir())
    assert [f.name for f in files] == ["sample-0.png", "sample-1.png"]
    first, second = (read_picture(f).pixels for f in files)
    assert first.shape == (3, 12, 16)
    assert (first - second).abs().max() > 0.02


def test_the_seed_decides_and_nothing_is_overwritten(tmp_path):
    words = ("-o", tmp_path, "--count", 1, "--size", 8, *FAST)
    run(*words)
    first = (tmp_path / "sample-0.png").read_bytes()
    assert "exists" in run(*words, "--seed", 1, code=4)
    assert (tmp_path / "sample-0.png").read_bytes() == first
    run(*words, "--seed", 1, "--force")
    assert (tmp_path / "sample-0.png").read_bytes() != first
    run(*words, "--seed", 0, "--force")
    assert (tmp_path / "sample-0.png").read_bytes() == first


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (["--size", "0"], 3, "size: expected a side such as 64"),
        (["--size", "3x4x5"], 3, "'3x4x5'"),
        (["--size", "big"], 3, "'big'"),
        (["--solver", "dps"], 3, "heun, ddim, ddpm"),
        (["--steps", "500", "--solver", "ddim"], 3, "at most 214 levels"),
        (["--prior", "nothing"], 3, "prior"),
        (["--count", "0"], 2, "--count"),
    ],
)
def test_bad_input_is_one_line_and_a_code(tmp_path, words, code, named):
    text = run("-o", tmp_path / "out", "--prior", "ffdnet", *words, code=code)
    assert named in text
    if code != 2:
        assert len(text.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_more_draws_than_files_may_be_open(tmp_path):
    resource = pytest.importorskip("resource")
    out, limits = tmp_path / "out", resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))
    try:
        run("-o", out, "--count", 220, "--size", 2, "--prior", "ffdnet", "--steps", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(list(out.iterdir())) == 220
