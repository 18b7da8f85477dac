"""The arguments of `restore` and `degrade`: pictures, masks, kernels, priors and numbers.

Files, texts, PIL images, NumPy arrays (masked ones too) and tensors are converted to tensors.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from reddiff.errors import InvalidArgument, require
from reddiff.images.conversions import take_kernel, take_mask
from reddiff.images.io import Image, Picture, as_picture, as_range, read_picture
from reddiff.images.settings import Degradation, options
from reddiff.images.tasks import Compressed, Inpaint, OwnTask, Task, make_task
from reddiff.operators import JPEG, Operator

Source = Image | str | Path

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=Degradation)

BEYOND = 1.0  # how far floats may lie outside [0, 1] because of noise


def keywords(
    settings: Callable[P, S],
) -> Callable[[Callable[[Source, S], R]], Callable[Concatenate[Source, P], R]]:
    """Decorator: a function of an image and settings receives the settings as keyword arguments.

    Arguments:
        settings: The dataclass of the settings.
    """

    def decorate(function: Callable[[Source, S], R]) -> Callable[Concatenate[Source, P], R]:
        @wraps(function)
        def called(image: Source, *args: P.args, **kwargs: P.kwargs) -> R:
            return function(image, settings(*args, **kwargs))

        own = inspect.signature(function)
        given = inspect.signature(settings).parameters.values()
        entries = options(cast("type[Degradation]", settings)).items()
        lines = [f"{name}: {option.help}" for name, option in entries]
        called.__doc__ = "\n    ".join([inspect.getdoc(function) or "", "\nSettings:", *lines])
        vars(called)["__signature__"] = own.replace(
            parameters=[next(iter(own.parameters.values())), *given]
        )
        return called  # type: ignore[return-value]  # it takes image by name, too

    return decorate


@dataclass(frozen=True, eq=False)
class Opened:
    """A picture, and which of its pixels are missing.

    Arguments:
        picture: The picture, 0 where pixels are missing.
        missing: Pixels that are masked, or not finite.
        masked: Whether they come from a masked array.
    """

    picture: Picture
    missing: Bool[Tensor, "1 h w"]
    masked: bool = False


def open_image(image: Source, settings: Degradation | None = None) -> Opened:
    """The picture in a file, an array, a tensor or a PIL image.

    Arguments:
        image: The picture.
        settings: The page and the range of values of a file.

    Raises:
        InvalidArgument: If it is not a picture, or has floats too far outside [0, 1].
        PictureError: If the file cannot be read.
    """
    if isinstance(image, str | Path):
        page, limits = (None, None) if settings is None else (settings.page, settings.range)
        picture = read_picture(image, page=page, value_range=as_range(limits))
        return Opened(picture, torch.zeros(1, *picture.size, dtype=torch.bool))
    for name in ("page", "range"):
        given = None if settings is None else getattr(settings, name)
        require(given is None, name, expected="None for an image that is not a file", got=given)
    masked = isinstance(image, np.ma.MaskedArray)
    missing, values = _missing(image)
    if missing is None:
        picture = as_picture(values)
        return Opened(picture, torch.zeros(1, *picture.size, dtype=torch.bool))
    if isinstance(values, Tensor):
        picture = as_picture(torch.where(missing, 0, values), beyond=BEYOND)
        return Opened(picture, missing.any(0, keepdim=True).cpu(), masked)
    picture = as_picture(np.where(missing, values.dtype.type(0), values), beyond=BEYOND)
    flat = missing if missing.ndim == 2 else missing.any(-1)
    return Opened(picture, torch.from_numpy(flat)[None], masked)


def _missing(image: Any) -> tuple[Any, Any]:
    """The mask of missing entries (None if nothing can be missing), and the plain values."""
    if isinstance(image, np.ma.MaskedArray):
        values = np.asarray(image.data)
        hidden = np.ma.getmaskarray(image)
        return (hidden | ~np.isfinite(values) if values.dtype.kind == "f" else hidden), values
    if isinstance(image, np.ndarray) and image.dtype.kind == "f":
        return ~np.isfinite(image), image
    if isinstance(image, Tensor) and image.is_floating_point() and image.ndim == 3:
        return ~torch.isfinite(image), image
    return None, image


def open_task(image: Source, opened: Opened, settings: Degradation, notes: list[str]) -> Task:
    """The task with its parameters, and without the missing pixels.

    Raises:
        InvalidArgument: If a parameter cannot be used, or pixels that the task needs are missing.
    """
    task, hole = settings.task, opened.missing
    if isinstance(task, Operator):
        refuse_parameters("your own operator", settings)
        task = OwnTask(task)
    elif task == "jpeg" and isinstance(image, str | Path):
        refuse_parameters("the task jpeg", settings)
        task = Compressed(JPEG.of(image))
    elif not isinstance(task, Task):
        require(isinstance(task, str), "task", expected="a name or a Task", got=repr(task))
        kept, kernel = settings.mask, settings.kernel
        if kept is not None:
            kept = take_mask(kept, opened.picture.size, settings.seed, settings.fit_mask)
        elif task == "inpaint" and bool(hole.any()):
            kept = (~hole).float()
        psf = None if kernel is None else take_kernel(kernel, notes)
        task = make_task(task, mask=kept, scale=settings.scale, kernel=psf)
    return _without(task, opened) if bool(hole.any()) else task


def refuse_parameters(task: str, settings: Degradation) -> None:
    """Check that no mask, scale or kernel is given to a task without such a parameter.

    Raises:
        InvalidArgument: If one is given; the message names it.
    """
    for name in ("mask", "scale", "kernel"):
        none = getattr(settings, name) is None
        require(none, name, expected=f"none for {task}", got="one")


def _without(task: Task, opened: Opened) -> Task:
    """The task without the missing pixels."""
    hole, count = opened.missing, int(opened.missing.sum())
    what = f"{count} masked pixels" if opened.masked else f"nan or inf in {count} pixels"
    if not isinstance(task, Inpaint):
        expected = "finite values (for the task inpaint, missing pixels may be nan or masked)"
        raise InvalidArgument("image", expected=expected, got=what)
    open_ = hole & (task.mask > 0).any(0, keepdim=True).to(hole.device)
    if not bool(open_.any()):
        return task
    if not opened.masked:
        expected = "finite values where the mask keeps the picture"
        raise InvalidArgument("image", expected=expected, got=f"nan or inf in {int(open_.sum())}")
    return replace(task, mask=task.mask * (~hole).to(task.mask))


def outside(pixels: Tensor, seen: Tensor, level: float | None) -> list[str]:
    """Notes on values outside [0, 1], within or beyond what noise of this level explains."""
    values = pixels[seen]
    beyond = (values < 0) | (values > 1)
    if not bool(beyond.any()):
        return []
    reach = 0.05 + 6 * (level if level is not None and math.isfinite(level) else 0.1)
    far = (values < -reach) | (values > 1 + reach)
    which = far if bool(far.any()) else beyond
    low, high = float(values[which].min()), float(values[which].max())
    count = f"{int(which.sum())} of {values.numel()} values"
    if bool(far.any()):
        return [
            f"{count} lie further outside [0, 1] than the noise explains, from {low:.3g} to "
            f"{high:.3g}: the prior was not trained on such pixels. Rescale the picture, or mask "
            "them (task inpaint)."
        ]
    return [f"{count} lie outside [0, 1], from {low:.3g} to {high:.3g}: treated as noise."]
