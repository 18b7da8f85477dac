"""`reddiff sample`: draw pictures from a prior."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reddiff.cli import interruptions
from reddiff.cli.options import Force, PriorName, Seed, some_path
from reddiff.cli.terminal import flat, say

if TYPE_CHECKING:
    from torch import Tensor

MOST_COUNT = 10_000
TOGETHER = 100  # files written at the same time
MOST_PIXELS = 1 << 26
PIXEL_BYTES = 500  # of memory per pixel, a lower bound: all pictures are drawn at once


def sample(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", parser=some_path, metavar="DIR", help="The folder for the pictures."
        ),
    ],
    prior: PriorName = "photo",
    count: Annotated[int, typer.Option(min=1, help="Number of pictures.")] = 4,
    size: Annotated[str, typer.Option(help="Side of a picture in pixels, or HEIGHTxWIDTH.")] = "64",
    solver: Annotated[str, typer.Option(help="The sampler: heun, ddim or ddpm.")] = "heun",
    steps: Annotated[
        int | None, typer.Option(min=1, help="Number of steps. Default: that of the sampler.")
    ] = None,
    seed: Seed = 0,
    force: Force = False,
) -> None:
    """Draw pictures from a prior, without a measurement."""
    from reddiff import sampling
    from reddiff.errors import Diverged, require
    from reddiff.images.io import check_output
    from reddiff.images.memory import require_memory
    from reddiff.images.settings import Settings, check_number, options
    from reddiff.interop import door
    from reddiff.run.progress_bar import ProgressBar

    shape = 3, *_size(size)
    check_number("steps", steps, options(Settings)["steps"])
    check_number("seed", seed, options(Settings)["seed"])
    pixels = count * shape[1] * shape[2]
    good = count <= MOST_COUNT and pixels <= MOST_PIXELS
    expected = f"at most {MOST_COUNT} pictures, and {MOST_PIXELS} pixels in all of them"
    require(good, "count", expected=expected, got=f"{count} of {shape[1]}x{shape[2]}")
    require_memory(PIXEL_BYTES * pixels, f"pictures ({count} of {shape[1]}x{shape[2]})")
    names = [output / f"sample-{i:0{len(str(count - 1))}d}.png" for i in range(count)]
    for name in names:
        check_output(name, force=force, parents=True)
    network = door.prior(prior)
    shape = network.shape[0] or 3, *shape[1:]
    method = sampling.sampler(solver, network, steps)
    bar = ProgressBar("sample", transient=True)
    interruptions.raise_from_now_on()
    x = sampling.sample(network, shape, count, solver=method, seed=seed, hooks=[bar])
    failed = int((~x.isfinite().flatten(1).all(1)).sum())
    if failed:
        raise Diverged(f"{failed} of {count} draws diverged; nothing was written")
    _write(names, x, force=force)
    done = f"{count} of {shape[1]}x{shape[2]} pixels by {solver}, {method.steps} steps"
    say(flat(f"{names[0]}{f' to {names[-1].name}' if count > 1 else ''}: {done}"))


def _size(text: str) -> tuple[int, int]:
    """Height and width."""
    from reddiff.errors import InvalidArgument

    sides = text.lower().split("x")
    digits = all(s.isascii() and s.isdigit() and len(s) <= 9 for s in sides)
    if len(sides) > 2 or not digits or not all(map(int, sides)):
        expected = "a side such as 64, or HEIGHTxWIDTH such as 48x64"
        raise InvalidArgument("size", expected=expected, got=repr(text))
    return int(sides[0]), int(sides[-1])


def _write(names: list[Path], x: Tensor, *, force: bool) -> None:
    """Pictures from draws in [-1, 1]."""
    from reddiff.files import write_together
    from reddiff.images.io import Picture, encode

    pixels = ((x.float() + 1) / 2).clamp(0, 1).cpu()
    pairs = list(zip(names, pixels, strict=True))
    for first in range(0, len(pairs), TOGETHER):
        some = pairs[first : first + TOGETHER]
        write_together([(n, encode(n, Picture(p.contiguous()))) for n, p in some], force=force)
