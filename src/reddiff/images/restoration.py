"""Restore pictures, with pixels in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from reddiff.hooks import Hook, Progress
from reddiff.images.arguments import Source, keywords
from reddiff.images.conversions import take_numbers
from reddiff.images.preparation import Ready, prepare
from reddiff.images.restored import Restored
from reddiff.images.settings import Settings
from reddiff.run.modes import ordinary
from reddiff.solving import solve
from reddiff.uncertainty import sample_posterior

Preview = Callable[[int, Float[Tensor, "c h w"]], None]


@dataclass(frozen=True, kw_only=True)
class _Restoration(Settings):
    """The arguments of `restore`: the settings, and callbacks."""

    hooks: Sequence[Hook] = ()
    preview: Preview | None = None


@keywords(_Restoration)
def restore(image: Source, settings: _Restoration) -> Restored:
    """Restore a degraded picture.

    Arguments:
        image: The degraded picture: a file; a NumPy array `(h, w)` or `(h, w, c)` of uint8, uint16
            or floats in [0, 1], or slightly outside because of noise; a PIL image; a tensor `(c, h,
            w)` of such floats; or a `Picture`. For `inpaint`, missing pixels may be NaN or masked
            (`numpy.ma`), and define the mask if none is given.
        settings: The fields of `Settings` as keyword arguments; only `task` is required. In
            addition, `hooks` are called after every step, and `preview` is called after every step
            with the number of steps made and the estimate in [0, 1].

    Raises:
        InvalidArgument: If an argument cannot be used, before any network evaluation.
        PictureError: If the image cannot be read.
        WeightsError: If the weights file does not fit the network.
    """
    return restore_with(image, settings, hooks=settings.hooks, preview=settings.preview)


@ordinary
def restore_with(
    image: Source,
    settings: Settings,
    *,
    hooks: Sequence[Hook] = (),
    preview: Preview | None = None,
    lane: int = 0,
) -> Restored:
    """`restore`, with the settings in one object, and the id of its one lane."""
    settings = take_numbers(settings)
    return solve_ready(prepare(image, settings), settings, hooks=hooks, preview=preview, lane=lane)


@ordinary
def solve_ready(
    ready: Ready,
    settings: Settings,
    *,
    hooks: Sequence[Hook] = (),
    preview: Preview | None = None,
    lane: int = 0,
) -> Restored:
    """Restore a picture that is prepared. Arguments as for `restore_with`."""
    hooks = [*hooks, *([] if preview is None else [_Preview(preview, ready.finish)])]
    more: dict[str, Any] = {"seed": settings.seed, "ids": [lane], "hooks": hooks}
    problem, prior, solver = ready.problem, ready.prior, ready.solver
    if settings.draws is None:
        return ready.result(solve(problem, prior, solver, progress=False, **more))
    return ready.result(sample_posterior(problem, prior, settings.draws, solver=solver, **more))


class _Preview(Hook):
    """A hook that passes every estimate on as a picture."""

    def __init__(self, show: Preview, finish: Callable[[Tensor], Tensor]) -> None:
        self.show, self.finish = show, finish

    def __call__(self, progress: Progress) -> None:
        self.show(progress.step, self.finish(progress.x[0]))
