"""`reddiff run --distributor ray`: the pixels of the local pool, whatever becomes of actors."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ray.cluster_utils import Cluster

import commands
import killer_operator
import ray
from reddiff.images.io import read_picture
from tiny import save_tiny

COUNT = 8
LIGHT = ("--noise", 0.05, "--steps", 2, "--shard-size", 2)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the test stands: a tiny prior and a folder `in` of eight pictures."""
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path / "tiny.safetensors")
    rng = np.random.default_rng(0)
    Path("in").mkdir()
    for i in range(COUNT):
        pixels = rng.integers(1, 255, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"in/p{i}.png")
    return tmp_path


@pytest.fixture
def two_nodes() -> Iterator[Cluster]:
    """A cluster of two nodes, simulated on this machine, with a core each."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def run(output: str, *words: object, task: str = "denoise", code: int = 0) -> str:
    more = ("--task", task, "--prior", "tiny.safetensors")
    return commands.run("run", "in", "-o", output, *LIGHT, *more, *words, code=code)


def pixels(folder: str) -> dict[str, bytes]:
    """Name -> pixels, of all results; each has its record."""
    found = {}
    for path in sorted(Path(folder).glob("*.png")):
        assert json.loads(path.with_name(f"{path.name}.json").read_text())["job"]
        found[path.name] = read_picture(path).pixels.numpy().tobytes()
    return found


def same_as_local(output: str) -> None:
    run("local", "--workers", 0)
    good = pixels("local")
    assert len(good) == COUNT
    assert pixels(output) == good
    for name in good:
        records = [json.loads(Path(f, f"{name}.json").read_text()) for f in ("local", output)]
        assert records[0]["job"] == records[1]["job"]


def test_two_processes_of_one_machine(here):
    """Ray is started by the run, and ends with it."""
    text = run("out", "--distributor", "ray", "--workers", 2)
    assert f"{COUNT} pictures: {COUNT} done, 0 failed" in text
    assert not ray.is_initialized()
    same_as_local("out")
    assert not list(Path("out/_run").glob("spool"))


def test_two_nodes_and_a_picture_that_kills_its_actor(here, two_nodes):
    """See `killer_operator`."""
    shutil.copy(killer_operator.__file__, "killer.py")
    run("local", "--workers", 0, task="killer.py:killer")
    good = pixels("local")
    Image.new("RGB", (16, 12)).save("in/p3b.png")
    text = run("out", "--distributor", "ray", task="killer.py:killer", code=5)
    assert "p3b.png: its process ended" in text
    assert pixels("out") == good
    assert len(ray.nodes()) == 2


def test_an_actor_that_is_killed_midway(here, two_nodes):
    """Once, at the third picture that it is given: its shard goes to another actor."""
    Path("once.py").write_text(
        "import os, signal\n"
        "from pathlib import Path\n"
        "from reddiff.operators import Identity\n"
        "class Once(Identity):\n"
        "    def forward(self, x):\n"
        "        with Path('calls').open('a') as file: file.write('x')\n"
        "        if len(Path('calls').read_text()) == 40: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return x\n"
        "once = Once()\n"
    )
    run("out", "--distributor", "ray", task="once.py:once")
    assert len(Path("calls").read_text()) > 40
    Path("calls").write_text("x" * 100)
    run("local", "--workers", 0, task="once.py:once")
    assert pixels("out") == pixels("local")
    assert len(pixels("out")) == COUNT


def test_a_run_goes_on_with_the_other_distributor(here):
    os.environ.pop("RAY_ADDRESS", None)
    run("out", "--workers", 0)
    Path("out/p2.png").unlink()
    text = run("out", "--distributor", "ray", "--workers", 1)
    assert "6 pictures of 8 finished before" in text
    same_as_local("out")
    assert "--workers: expected" in run("new", "--distributor", "ray", "--workers", 0, code=3)
