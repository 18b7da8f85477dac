"""A folder with all that a command line may be pointed at: pictures, odd files, records, code."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from tiny import save_tiny

MINE = """
import sys
from pathlib import Path
import torch
Path("RAN").touch()
def lens(x): return x * torch.linspace(0.3, 1, x.shape[-1], dtype=x.dtype)
def nonlinear(x): return x.clamp(min=0) ** 2
def gray(x): return x.mean(1, keepdim=True)
def half(x): return x[..., ::2, ::2]
def nan(x): return x * float("nan")
def raising(x): raise KeyError("lost")
def oserr(x): raise OSError(5, "mine")
def leaving(x): sys.exit(0)
def none(x): return None
def whole(x): return x.int()
def noisy(x): return x + torch.rand_like(x)
def noargs(): return 1
def inplace(x): return x.mul_(2)
def double(x): return x.double()
def big(x): return x.new_zeros(10**12)
number, text, array = 3, "text", [1, 2]
class Odd: ...
"""


def build(root: Path) -> None:
    """Make the folder, anew if it is there."""
    shutil.rmtree(root, ignore_errors=True)
    for name in ("pics", "two", "empty", "out", "deep/a/b"):
        (root / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 255, (16, 20, 4), dtype=np.uint8)
    pictures = {
        "rgb.png": rgb[..., :3],
        "gray.png": rgb[..., 0],
        "rgba.png": rgb,
        "rgb.jpg": rgb[..., :3],
        "rgb.tif": rgb[..., :3],
        "rgb.webp": rgb[..., :3],
        "one.png": rgb[:1, :1, :3],
        "row.png": rgb[:1, :, :3],
        "black.png": np.zeros((16, 20), np.uint8),
        "mask.png": np.full((16, 20), 255, np.uint8),
        "deep.png": rgb[..., 0].astype(np.uint16) * 257,
    }
    for name, levels in pictures.items():
        Image.fromarray(levels).save(root / "pics" / name)
    sound = (root / "pics/rgb.png").read_bytes()
    for name in ("two/a.png", "two/a.jpg", "two/b{1}.png", "deep/c.png", "deep/a/b/c.png"):
        (root / name).write_bytes(sound)
    for name in ("with space.png", "{task.id}.png", "[bold]x.png", "x\ny.png", "\x1b[31mr.png"):
        (root / name).write_bytes(sound)
    (root / os.fsdecode(b"\xff\xfe.png")).write_bytes(sound)
    (root / "cut.png").write_bytes(sound[:60])
    (root / "empty.png").touch()
    (root / "text.png").write_text("no picture")
    (root / "dir.png").mkdir()
    for name in ("fifo.png", "fifo.npy", "fifo.safetensors", "fifo.json", "fifo.py"):
        os.mkfifo(root / name)
    (root / "link.png").symlink_to("pics/rgb.png")
    (root / "dangling.png").symlink_to("nowhere.png")
    (root / "loop.png").symlink_to("loop.png")
    (root / "zero.png").symlink_to("/dev/zero")
    (root / "out/existing.png").write_bytes(sound)
    (root / "out/link.png").symlink_to("../pics/rgb.png")
    (root / "out/dangling.png").symlink_to("nowhere.png")
    os.mkfifo(root / "out/fifo.png")
    np.save(root / "k.npy", np.ones((3, 3)) / 9)
    np.save(root / "knan.npy", np.full((3, 3), np.nan))
    np.save(root / "kbig.npy", np.ones((1500, 3)))
    np.savez(root / "k.npz", a=np.ones((3, 3)), b=np.ones((5, 5)))
    (root / "mine.py").write_text(MINE)
    (root / "exit.py").write_text("import sys; sys.exit(0)\n")
    (root / "syntax.py").write_text("def f(x)\n")
    save_tiny(root / "tiny.safetensors")
    save_tiny(root / "nan.safetensors", factor=float("nan"))
    (root / "bad.safetensors").write_bytes(b"no weights")
    (root / "notrec.json").write_text("{}")
    (root / "deep.json").write_text("[" * 100_000)
