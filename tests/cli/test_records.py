"""Records from other people: what they may not do, and what replaying them checks."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from commands import run
from reddiff.images.jobs import file_hash
from reddiff.interop.header import Header
from reddiff.interop.weights import save_weights
from reddiff.interop.wiring import Wiring
from reddiff.priors import UNet
from tiny import save_tiny

CODE = "from pathlib import Path\nPath('RAN').touch()\ndef f(x): return 0.5 * x\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A picture, its restoration and the record of it, where the test stands."""
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path / "tiny.safetensors")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (16, 20, 3), dtype=np.uint8)).save("a.png")
    restore("a.png", "-o", "r.png")
    return tmp_path


def restore(*words: object, code: int = 0, task: str = "denoise") -> str:
    fixed = ("--task", task, "--steps", 2, "--noise", 0.05, "--prior", "tiny.safetensors")
    return run("restore", *words, *fixed, code=code)


def replay(*words: object, code: int = 0) -> str:
    text = run("replay", *words, code=code)
    if code:
        assert len(text.strip().splitlines()) == 1
    return text


def changed(name: str, **values: object) -> None:
    """Another record: of the one in r.png.json, with other values at the top or in its job."""
    record = json.loads(Path("r.png.json").read_text())
    for key, value in values.items():
        (record["job"] if key in record["job"] else record)[key] = value
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(json.dumps(record))


def test_code_runs_only_if_it_is_named_beside(folder):
    Path("mine.py").write_text(
        "import pathlib; pathlib.Path('RAN').touch()\ndef f(x): return 0.5 * x\n"
    )
    restore("a.png", "-o", "own.png", task="mine.py:f")
    Path("RAN").unlink()
    text = replay("own.png.json", "-o", "again.png", code=3)
    assert "mine.py" in text
    assert "--task" in text
    Path("other.py").write_text(Path("mine.py").read_text())
    for wrong in ("other.py:f", "mine.py:g", "denoise"):
        replay("own.png.json", "-o", "again.png", "--task", wrong, code=3)
    assert not Path("RAN").exists()
    replay("own.png.json", "-o", "again.png", "--task", "./mine.py:f")
    assert np.array_equal(Image.open("own.png"), Image.open("again.png"))
    Path("mine.py").write_text(
        "import pathlib; pathlib.Path('RAN').touch()\ndef f(x): return 0.4 * x\n"
    )
    Path("RAN").unlink()
    text = replay("own.png.json", "-o", "third.png", "--task", "mine.py:f", code=3)
    assert "task mine.py as it was" in text
    assert not Path("RAN").exists()
    assert not Path("third.png").exists()


def test_a_record_without_hashes_is_refused(folder):
    Path("evil.py").write_text(CODE)
    changed("evil.json", task="evil.py:f", output="r2.png", inputs={})
    assert "--task" in replay("evil.json", code=3)
    assert "hashes of source, task, prior" in replay("evil.json", "--task", "evil.py:f", code=3)
    assert not Path("RAN").exists()
    assert not Path("r2.png").exists()


@pytest.mark.parametrize("name", ["source", "mask", "kernel", "prior"])
def test_every_input_is_checked(folder, name):
    Image.new("L", (20, 16), 255).save("mask.png")
    np.save("kernel.npy", np.ones((3, 3)) / 9)
    if name == "kernel":
        restore("a.png", "-o", "x.png", "--kernel", "kernel.npy", task="deblur")
    else:
        restore("a.png", "-o", "x.png", "--mask", "mask.png", task="inpaint")
    replay("x.png.json", "-o", "y.png")
    file = {"source": "a.png", "mask": "mask.png", "kernel": "kernel.npy"}.get(
        name, "tiny.safetensors"
    )
    with Path(file).open("ab") as stream:
        stream.write(b"\0")
    assert f"{name} {file} as it was" in replay("x.png.json", "-o", "z.png", code=3)
    assert not Path("z.png").exists()


def test_a_record_writes_in_its_own_folder_alone(folder):
    Path("victim.png").write_text("mine")
    Path("link").symlink_to(folder)
    for output in ("../victim.png", str(folder / "victim.png"), "../new.png", "../link/new.png"):
        changed("sub/t.json", output=output, source="../a.png", prior="../tiny.safetensors")
        assert "outside its own folder" in replay("sub/t.json", "--force", code=3)
    changed("t.json", output="victim.png")
    assert "--force replaces only" in replay("t.json", "--force", code=3)
    assert "exists" in replay("t.json", code=4)
    assert Path("victim.png").read_text() == "mine"
    assert not Path("new.png").exists()
    replay("t.json", "-o", "victim.png", "--force")
    assert np.array_equal(Image.open("victim.png"), Image.open("r.png"))
    replay("r.png.json", "--force")  # its own picture


def test_relative_paths_are_those_of_the_folder_of_the_record(folder, monkeypatch):
    Path("in").mkdir()
    Path("out").mkdir()
    Path("in/b.png").write_bytes(Path("a.png").read_bytes())
    restore("in/b.png", "-o", "out/b.png")
    job = json.loads(Path("out/b.png.json").read_text())["job"]
    assert [job[k] for k in ("source", "output", "prior")] == [
        "../in/b.png",
        "b.png",
        "../tiny.safetensors",
    ]
    monkeypatch.chdir("/")
    replay(folder / "out/b.png.json", "-o", folder / "again.png")
    monkeypatch.chdir(folder)
    Path("out").rename("elsewhere")
    replay("elsewhere/b.png.json", "-o", "third.png")


@pytest.mark.parametrize(
    "words",
    [
        ["nothing.png"],
        ["--noise", "0.5"],
        ["--steps=77"],
        ["--seed", "5"],
        ["--truth", "a.png"],
        ["--preview", "films"],
        ["--report", "x.csv"],
        ["--recursive"],
        ["--on-existing", "skip"],
        ["--fit-mask"],
        ["--tile", "512"],
    ],
)
def test_nothing_beside_it_is_ignored(folder, words):
    text = replay("r.png.json", "-o", "r2.png", *words, code=2)
    assert words[0].partition("=")[0] in text
    assert not Path("r2.png").exists()


@pytest.mark.parametrize("form", [["--replay", "r.png.json"], ["--replay=r.png.json"]])
def test_its_older_form_is_an_option_of_restore(folder, form):
    assert "the same pixels" in run("restore", *form, "-o", "r2.png")
    assert "--noise" in run("restore", "--noise", 0.5, *form, "-o", "r3.png", code=2)
    assert np.array_equal(Image.open("r.png"), Image.open("r2.png"))
    assert not Path("r3.png").exists()


def test_task_beside_a_record_without_code_is_refused(folder):
    assert "denoise" in replay("r.png.json", "-o", "r2.png", "--task", "denoise", code=3)


JOB = {"source": "a", "output": "b", "task": "denoise"}


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "9" * 5000,
        "{}",
        "null",
        "[1]",
        json.dumps({"format": 1, "job": JOB}),
        json.dumps({"format": 1, "command": "restore", "job": {}}),
        json.dumps({"format": 2, "command": "restore", "job": JOB}),
        json.dumps({"format": True, "command": "restore", "job": JOB}),
        json.dumps({"format": [2], "command": {}, "job": JOB}),
        '{"format": NaN}',
        "\ud800".encode("utf-8", "surrogatepass").decode("latin1"),
        " " * 2_000_000,
    ],
)
def test_what_is_no_record_is_one_line(folder, text):
    Path("bad.json").write_text(text)
    for words in (["show", "bad.json"], ["replay", "bad.json"]):
        printed = run(*words, code=3)
        assert len(printed.strip().splitlines()) == 1
        assert "recursion" not in printed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threads", 10**30),
        ("threads", 0),
        ("threads", True),
        ("noise", "0.1"),
        ("steps", 2.5),
        ("steps", 2**63),
        ("fit_mask", 1),
        ("source", ""),
        ("source", "a\0b"),
        ("source", ["a"]),
        ("tile", None),
        ("notes", "one"),
        ("cost", {}),
        ("cost", {"evaluations": -1, "vjps": 0, "seconds": 1}),
        ("status", "FINE"),
        ("inputs", {"source": "../../etc"}),
        ("inputs", {"nothing": "0" * 64}),
        ("weights", "x"),
        ("pixels", 1),
        ("written", None),
        ("metrics", {"psnr": "1"}),
        ("new", 1),
    ],
)
def test_types_and_ranges_are_checked(folder, name, value):
    record = json.loads(Path("r.png.json").read_text())
    where = record["job"] if name in record["job"] or name == "new" else record
    if name in ("noise",):
        record["noise"] = value
    where[name] = value
    Path("bad.json").write_text(json.dumps(record))
    for words in (["show", "bad.json"], ["replay", "bad.json", "-o", "x.png"]):
        text = run(*words, code=3)
        assert len(text.strip().splitlines()) == 1
        assert name in text


def test_pipes_and_devices_are_no_records(folder):
    os.mkfifo("pipe.json")
    for name in ("pipe.json", "/dev/zero", "missing.json", "."):
        assert len(run("show", name, code=4).strip().splitlines()) == 1
        assert len(run("replay", name, code=4).strip().splitlines()) == 1


def test_nothing_in_a_record_steers_the_terminal(folder):
    evil = "\x1b]0;owned\x07\x1b[31m\u202egnp.exe\x9b1m\ud800"
    changed("evil.json", output=f"{evil}.png", notes=[evil], task=f"{evil}")
    for words, code in ((["show", "evil.json"], 0), (["show", "--full", "evil.json"], 0)):
        text = run(*words, code=code)
        assert not set(text) & set("\x1b\x07\x9b\u202e\ud800")
    text = replay("evil.json", code=3)
    assert not set(text) & set("\x1b\x07\x9b\u202e\ud800")


def test_a_record_of_format_1_is_shown_and_not_run(folder):
    record = json.loads(Path("r.png.json").read_text()) | {"format": 1}
    del record["written"], record["replaced"]
    Path("old.json").write_text(json.dumps(record))
    assert "denoise" in run("show", "old.json")
    assert "format 1 cannot be run again" in replay("old.json", "-o", "x.png", code=3)


def test_threads_are_bounded(folder, monkeypatch):
    import torch

    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    changed("t.json", threads=60_000)
    run("replay", "t.json", "-o", "x.png")
    assert max(asked) <= (os.cpu_count() or 1)


def test_a_network_of_gray_pictures_with_its_wiring_restores_color(folder):
    """What a weights file says of itself is all that `--prior` needs."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = UNet(1, channels=[8, 8], blocks=[1, 1], embedding=8)
    wiring = Wiring(prediction="edm", shape=(1, 16, 16), values=(0, 1), levels=(0.002, 40))
    arguments = {"image_channels": 1, "channels": [8, 8], "blocks": [1, 1], "embedding": 8}
    save_weights("mine.safetensors", net.state_dict(), Header("unet", arguments, wiring))
    words = "--task", "denoise", "--noise", 0.05, "--steps", 2, "--prior", "mine.safetensors"
    run("restore", "a.png", "-o", "mine.png", *words)
    with Image.open("mine.png") as picture:
        assert (picture.size, picture.mode) == ((20, 16), "RGB")
    run("sample", "-o", "draws", "--prior", "mine.safetensors", "--size", 16, "--count", 1)
    with Image.open("draws/sample-0.png") as picture:
        assert (picture.size, picture.mode) == ((16, 16), "L")
    before = Path("mine.png").read_bytes()
    replay("mine.png.json", "--force")
    assert Path("mine.png").read_bytes() == before
    save_weights("mine.safetensors", net.state_dict(), Header("unet", arguments, Wiring()))
    text = run("restore", "a.png", "-o", "b.png", *words, code=3)
    assert "shape: expected that of one x" in text


def test_the_hash_of_a_folder_is_that_of_its_files(tmp_path):
    (tmp_path / "m" / "unet").mkdir(parents=True)
    (tmp_path / "m" / "unet" / "config.json").write_text("{}")
    one = file_hash(tmp_path / "m")
    assert one == file_hash(tmp_path / "m")
    (tmp_path / "m" / "unet" / "config.json").rename(tmp_path / "m" / "config.json")
    two = file_hash(tmp_path / "m")
    (tmp_path / "m" / "config.json").write_text("{ }")
    assert len({one, two, file_hash(tmp_path / "m")}) == 3
