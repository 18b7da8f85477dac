"""The settings of a restoration: the only list of options.

The fields of `Settings` are the options of `reddiff restore`, the arguments of `reddiff.restore`
and the entries of a record, which `reddiff replay` repeats. The fields of `Degradation` are the
options of `reddiff degrade` and the arguments of `reddiff.degrade`. A new option is a new field.

Heavy modules are not imported here, because the command line needs this module for `--help`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from reddiff.errors import require
from reddiff.images.option import (
    MAX_DRAWS,
    MAX_SCALE,
    MAX_SEED,
    MAX_STEPS,
    MAX_TILE,
    Option,
    described,
)

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from reddiff.images.conversions import Kernel, Mask
    from reddiff.images.tasks import Task
    from reddiff.operators import Operator
    from reddiff.priors.base import Prior
    from reddiff.solvers.base import Solver


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """How a picture was degraded, or is to be degraded. Levels are in [0, 1] pixel units.

    In Python, `task` may also be a `Task` or an `Operator` on pixels in [0, 1]; `mask` and `kernel`
    may be arrays, tensors or PIL images.
    """

    task: str | Task | Operator = field(
        metadata=described(
            str,
            "How the picture was degraded: denoise, inpaint, sr, deblur, jpeg:10, ... (see "
            "`reddiff tasks`), or FILE.py:NAME, an operator of your own.",
        )
    )
    mask: Mask | None = field(
        default=None,
        metadata=described(
            str,
            "For inpaint: a picture, white where kept; random:0.7, box:96, brush:10-20, ...; or, "
            "for several pictures, a folder with one of the name of each.",
        ),
    )
    fit_mask: bool = field(
        default=False, metadata=described(bool, "Resize a mask file of another size.")
    )
    scale: int | None = field(
        default=None,
        metadata=described(
            int, "For sr: the factor by which the picture was downsampled.", low=1, high=MAX_SCALE
        ),
    )
    kernel: Kernel | None = field(
        default=None,
        metadata=described(
            str,
            "For deblur: a .png, .npy or .npz file; or gaussian:1.6, motion:15,30, disk:3, "
            "levin:1, ...; or, for several pictures, a folder with one of the name of each.",
        ),
    )
    noise: float | None = field(
        default=None,
        metadata=described(
            float,
            "Standard deviation of the noise, for pixels in [0, 1]. By default `restore` estimates "
            "it, and `degrade` adds none.",
            low=0,
            high=1,
        ),
    )
    seed: int = field(
        default=0, metadata=described(int, "Random seed.", low=-MAX_SEED - 1, high=MAX_SEED)
    )
    range: str | tuple[float, float] | None = field(
        default=None,
        metadata=described(
            str,
            "Values of black and white in the file, for floats, or for 12 bits stored in 16 "
            "(0,4095).",
            metavar="LOW,HIGH",
        ),
    )
    page: int | None = field(
        default=None,
        metadata=described(
            int, "The page of a TIFF file, or the frame of an animation, from 1.", low=1
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Settings(Degradation):
    """All settings that determine a restored picture, in addition to the degraded picture.

    In Python, `solver` may also be a `Solver` (in [-1, 1] units), and `prior` a `Prior` on RGB or
    one channel in [-1, 1].
    """

    solver: str | Solver[Any] = field(
        default="noise-aware", metadata=described(str, "The solver (see `reddiff solvers`).")
    )
    steps: int | None = field(
        default=None,
        metadata=described(
            int,
            "Number of steps. Default: that of the solver; 1 if noise-aware denoises at a known "
            "level, because more steps give the same result.",
            low=1,
            high=MAX_STEPS,
        ),
    )
    realism: float | None = field(
        default=None,
        metadata=described(
            float,
            "For noise-aware: the perception-distortion trade-off, from 0 (smallest error) to 1 "
            "(a draw from the posterior).",
            low=0,
            high=1,
        ),
    )
    draws: int | None = field(
        default=None,
        metadata=described(
            int,
            "Number of draws from the posterior, at realism 1 unless --realism is given. The "
            "result is their mean.",
            low=1,
            high=MAX_DRAWS,
        ),
    )
    prior: str | Path | Prior = field(
        default="photo",
        metadata=described(
            str,
            "The prior: a name (`reddiff priors`), a .safetensors or .onnx file, or a folder.",
        ),
    )
    device: str | torch.device = field(
        default="auto", metadata=described(str, "cpu, cuda, ...; auto uses a GPU if there is one.")
    )
    tile: int = field(
        default=512,
        metadata=described(
            int,
            "Side of the overlapping tiles in which larger pictures are denoised, in pixels.",
            low=64,
            high=MAX_TILE,
        ),
    )


def options(kind: type[Degradation]) -> dict[str, Option]:
    """The options of `Degradation` or `Settings`, by the names of their fields."""
    return {f.name: f.metadata["option"] for f in fields(kind) if "option" in f.metadata}


def words(settings: Degradation) -> dict[str, Any]:
    """The settings in the form of a record."""
    return {name: getattr(settings, name) for name in options(type(settings))}


def check_numbers(settings: Degradation) -> None:
    """Check the numbers that can be checked without a picture.

    Raises:
        InvalidArgument: If one is out of its range.
    """
    for name, option in options(type(settings)).items():
        if option.kind in (int, float):
            check_number(name, getattr(settings, name), option)


def check_number(name: str, value: float | None, option: Option) -> None:
    """Raise InvalidArgument for a number out of the range of an option; None is its default."""
    if value is None:
        return
    top = "up" if math.isinf(option.high) else f"to {option.high}"
    expected = f"a number from {option.low} {top}"
    require(option.low <= value <= option.high, name, expected=expected, got=value)
