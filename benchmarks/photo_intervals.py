"""Calibrated intervals with the photo prior; prints tables in Markdown.

    python benchmarks/photo_intervals.py [cells|alarm|all] --images FOLDER --out FOLDER

cells: 7 tasks x 3 noise levels, those of `reddiff bench photos`: `reddiff calibrate` on the first
    pictures; the share of pixels inside 90 % intervals, as the draws have them and calibrated, by
    cross-validation: each part of the pictures with the factors of the rest.
alarm: how often pictures are flagged as unlike those of a calibration: other scenes, and pictures
    of text, X-ray-like ones, and noise.

Without --images, patches of the photos of the package are used, which are too alike for numbers to
be quoted. With --out, each calibration is kept in the folder, and a run that was interrupted
resumes.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import yaml
from common import PHOTOS, Results, Table, parser, photo, run_tables
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from reddiff import calibrate, read_calibration
from reddiff.images.calibration import ALARM, Calibration
from reddiff.images.degradation import degrade_with
from reddiff.images.io import Picture, as_picture, read_picture, write_picture
from reddiff.images.places import STRATA
from reddiff.images.restoration import restore_with
from reddiff.images.settings import Settings
from reddiff.priors import photo_prior

LEVEL, DRAWS = 0.9, 19
SPEC = yaml.safe_load(files("reddiff").joinpath("bench/specs/photos.yaml").read_text())
CHECKED = "denoise", 0.05  # the cell of `alarm`
WORDS = ("quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "rain", "on", "roofs")

# ------------------------------------------------------------------------------------ pictures


def scenes(arguments: argparse.Namespace, folder: Path) -> list[Path]:
    """The files of the pictures, in the order of their names; patches are written to the folder."""
    if arguments.images:
        return sorted(arguments.images.glob("*.png"))
    side = arguments.size
    for name in PHOTOS:
        patches = photo(name).unfold(1, side, side).unfold(2, side, side).flatten(1, 2)
        for i, pixels in enumerate(patches.transpose(0, 1)[:: 1 + len(PHOTOS) * arguments.quick]):
            write_picture(folder / f"{i:03}-{name}.png", Picture(pixels.contiguous()))
    return sorted(folder.iterdir())


def text(side: int, rng: torch.Generator) -> Tensor:
    """Dark words on a light ground."""
    sheet = Image.new("L", (side, side), 240)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(10)
    for top in range(0, side, 11):
        words = torch.randint(len(WORDS), (side // 12,), generator=rng).tolist()
        draw.text((1, top), " ".join(WORDS[i] for i in words), 20, font)
    return as_picture(sheet).pixels


def xray(side: int, rng: torch.Generator) -> Tensor:
    """Thick and thin ellipses that absorb along a ray, in gray: exp(-sum of lengths)."""
    grid = torch.linspace(-1, 1, side)
    lengths = torch.zeros(side, side)
    for width in (0.8, 0.5, 0.3, 0.2, 0.15):
        x, y, tall, angle = (2 * torch.rand(4, generator=rng) - 1).tolist()
        c, s = math.cos(3 * angle), math.sin(3 * angle)
        u, v = grid[None] - x / 2, grid[:, None] - y / 2
        inside = 1 - ((c * u + s * v) / width) ** 2 - ((c * v - s * u) / (1.2 + tall / 2)) ** 2
        lengths = lengths + inside.clamp(min=0).sqrt()
    return (0.05 + 0.9 * (-lengths).exp())[None]


def noise(side: int, rng: torch.Generator) -> Tensor:
    """Independent pixels, uniform in [0, 1]."""
    return torch.rand(3, side, side, generator=rng)


Maker = Callable[[int, torch.Generator], Tensor]
KINDS: dict[str, Maker] = {"text": text, "X-ray-like": xray, "noise": noise}

# --------------------------------------------------------------------------------------- cells


def settings_of(task: str, level: float, arguments: argparse.Namespace) -> Settings:
    """How a cell degrades and restores."""
    given = dict(SPEC["tasks"][task])
    if task == "box":  # 3 / 8 of the side, whatever it is
        given["mask"] = f"box:{3 * arguments.size // 8}"
    return Settings(noise=level, steps=arguments.steps, draws=DRAWS, prior=prior(), **given)


@cache
def prior() -> Any:
    return photo_prior()


def calibrated(task: str, level: float, arguments: argparse.Namespace) -> Calibration:
    """The calibration of a cell, made once, or read from its file if there is one."""
    if (task, level) in arguments.made:
        return arguments.made[task, level]
    name = f"{task}-{level:g}-{arguments.limit}x{arguments.size}-{arguments.steps}.json"
    kept = arguments.folder / name if arguments.folder else None
    if kept is not None and kept.exists():
        return read_calibration(kept)
    settings = settings_of(task, level, arguments)
    used = arguments.scenes[: arguments.limit]
    made = arguments.made[task, level] = calibrate(used, settings, level=LEVEL, size=arguments.size)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(made.as_json())
    return made


def cells(results: Results, arguments: argparse.Namespace) -> None:
    chosen = [(t, s) for s in SPEC["noise"] for t in SPEC["tasks"]]
    chosen = [CHECKED] if arguments.quick else chosen[: arguments.cells]
    print(
        f"{arguments.limit} pictures of {arguments.size} x {arguments.size}, {DRAWS} draws of "
        f"{arguments.steps} evaluations. Per cent of the pixels inside 90 % intervals.\n"
    )
    columns = ("draws", "calibrated", *STRATA, "width of draws", "calibrated", "means of boxes")
    printed, shares = Table("task", "noise", *columns), []
    for task, level in chosen:
        made = calibrated(task, level, arguments)
        found = {name: entry.share for name, entry in made.coverage.items()}
        inside = [f"{100 * found[n]:.1f}" if n in found else "" for n in ("draws", "all", *STRATA)]
        widths = [f"{w:.4f}" for w in made.widths]
        printed.row(task, f"{level:g}", *inside, *widths, f"x {made.region:.2f}")
        shares.append(found["all"])
    print()
    aim = LEVEL + LEVEL / (0.9 * arguments.limit)  # of the factors of nine parts in ten
    least, most = (0.8, 1.0) if arguments.quick else (0.885, aim + 0.015)
    results.expect("cells: least share inside, calibrated", min(shares), least=least)
    results.expect("cells: largest share inside, calibrated", max(shares), most=most)


# --------------------------------------------------------------------------------------- alarm


def flagged(exact: Calibration, truth: Tensor, seed: int, arguments: argparse.Namespace) -> bool:
    given = replace(settings_of(*CHECKED, arguments), seed=seed)
    p = exact.p_value(restore_with(degrade_with(Picture(truth), given), given))
    return p is not None and p <= ALARM


def alarm(results: Results, arguments: argparse.Namespace) -> None:
    exact, side, count = calibrated(*CHECKED, arguments), arguments.size, arguments.alarms
    cut = slice((64 - side) // 2, (64 + side) // 2) if arguments.images else slice(None)
    others = arguments.scenes[arguments.limit :][:count]
    kinds = {"other scenes": [read_picture(path).pixels[:, cut, cut] for path in others]}
    for name, make in KINDS.items():
        kinds[name] = [make(side, torch.Generator().manual_seed(i)) for i in range(count)]
    print(f"Flagged at p <= {ALARM:g} ({CHECKED[0]}, noise {CHECKED[1]:g}).\n")
    printed = Table("pictures", "number", "flagged")
    for name, pictures in kinds.items():
        found = [flagged(exact, x, i, arguments) for i, x in enumerate(pictures)]
        share = sum(found) / len(found)
        printed.row(name, str(len(found)), f"{100 * share:.0f} %")
        bound = {"most": 0.2} if name == "other scenes" else {"least": 0.9}
        results.expect(f"alarm: {name}, flagged", share, **bound)
    print()


TABLES = {"cells": cells, "alarm": alarm}


def main() -> int:
    options = parser(__doc__, TABLES)
    options.add_argument("--images", type=Path, help="folder of PNG files of at least 64 x 64")
    options.add_argument("--limit", type=int, default=48, help="pictures of a calibration")
    options.add_argument("--size", type=int, default=32, help="side of the crops")
    options.add_argument("--steps", type=int, default=10, help="network evaluations of a draw")
    options.add_argument("--cells", type=int, help="only the first of the 21")
    options.add_argument("--alarms", type=int, default=20, help="pictures of each kind")
    arguments = options.parse_args()
    if arguments.quick:
        arguments.size, arguments.steps, arguments.limit, arguments.alarms = 16, 2, 40, 5
    arguments.folder, arguments.out, arguments.made = arguments.out, None, {}
    with tempfile.TemporaryDirectory() as place:
        arguments.scenes = scenes(arguments, Path(place))
        return run_tables("photo_intervals", TABLES, arguments)


if __name__ == "__main__":
    sys.exit(main())
