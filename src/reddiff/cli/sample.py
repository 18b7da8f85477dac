"""`reddiff sample`: new pictures, drawn from a prior."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reddiff.cli.options import Force, Seed

if TYPE_CHECKING:
    from torch import Tensor


def sample(
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for the pictures.")],
    prior: Annotated[
        str, typer.Option(help="See `reddiff priors`, or a .safetensors file.")
    ] = "photo",
    count: Annotated[int, typer.Option(min=1, help="How many pictures.")] = 4,
    size: Annotated[str, typer.Option(help="Their side in pixels, or HEIGHTxWIDTH.")] = "64",
    solver: Annotated[str, typer.Option(help="heun, ddim or ddpm.")] = "heun",
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps; the solver's own by default.")
    ] = None,
    seed: Seed = 0,
    force: Force = False,
) -> None:
    """Draw pictures from a prior: to look at what it has learned."""
    from reddiff import sampling
    from reddiff.catalogue import load_prior
    from reddiff.hooks import ProgressBar
    from reddiff.pictures import check_output

    shape = 3, *_size(size)
    network = load_prior(prior)
    method = sampling.sampler(solver, network, steps)
    output.mkdir(parents=True, exist_ok=True)
    names = [output / f"sample-{i:0{len(str(count - 1))}d}.png" for i in range(count)]
    for name in names:
        check_output(name, force=force)
    bar = ProgressBar("sample", transient=True)
    x = sampling.sample(network, shape, count, solver=method, seed=seed, hooks=[bar])
    _write(names, x, force=force)
    done = f"{count} of {shape[1]}x{shape[2]} pixels by {solver}, {method.steps} steps"
    typer.echo(f"{names[0]}{f' to {names[-1].name}' if count > 1 else ''}: {done}")


def _size(text: str) -> tuple[int, int]:
    """Height and width."""
    from reddiff.errors import InvalidArgument

    sides = text.lower().split("x")
    if len(sides) > 2 or not all(s.isascii() and s.isdigit() and int(s) > 0 for s in sides):
        expected = "a side such as 64, or HEIGHTxWIDTH such as 48x64"
        raise InvalidArgument("size", expected=expected, got=repr(text))
    return int(sides[0]), int(sides[-1])


def _write(names: list[Path], x: Tensor, *, force: bool) -> None:
    """Pictures from draws in [-1, 1]."""
    from reddiff.pictures import Picture, write_picture

    for name, pixels in zip(names, ((x.float() + 1) / 2).clamp(0, 1).cpu(), strict=True):
        write_picture(name, Picture(pixels), force=force)
