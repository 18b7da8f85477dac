"""The tasks of a window: those whose operators are the same at every place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from reddiff.errors import InvalidArgument, require
from reddiff.images.conversions import take_kernel
from reddiff.images.settings import Settings
from reddiff.images.tasks import Denoise, Inpaint, NoiseSample, SuperResolve, Task, make_task
from reddiff.images.tasks.base import Pixels
from reddiff.images.words import split_word
from reddiff.operators import Mask, Operator

LOCAL = ("denoise", "inpaint", "sr", "deblur")
REACH = 8  # pixels of the small picture that the filter of `sr` sees at the least


@dataclass(frozen=True, eq=False)
class Partial(Task):
    """A task of which some values were not measured.

    Arguments:
        inner: The task.
        valid: `(c, h, w)`, which values of the degraded picture count.
    """

    inner: Task
    valid: Bool[Tensor, "c h w"]

    @property
    def name(self) -> str:  # type: ignore[override]
        """That of the task."""
        return self.inner.name

    def image(self, x: Pixels, y: Pixels) -> Pixels:
        return self.inner.image(x, y)

    def noise_sample(self, y: Pixels) -> NoiseSample | None:
        return NoiseSample(y, self._measured(y))

    def _forward(self, x: Pixels) -> Pixels:
        return self.inner._forward(x)

    def _measured(self, y: Pixels) -> Bool[Tensor, "_ _ _"]:
        valid = self.valid.to(y.device)
        return self.inner._measured(y) & (valid if len(valid) == len(y) else valid.all(0, True))

    def _operator(self, y: Pixels) -> Operator:
        seen = self.inner._measurement(self._measured(y).to(y))
        return Mask(seen) @ self.inner._operator(y)

    def _measurement(self, y: Pixels) -> Pixels:
        return self.inner._measurement(y)


@dataclass(frozen=True)
class WindowTask:
    """What makes the task of each window.

    Arguments:
        name: That of the task, with its word.
        plain: The task of a window in which everything is measured; None for `inpaint`.
        scale: How many times higher and wider the result is.
        reach: How far apart a pixel of y and one of x that it depends on can be, in pixels of y.
        notes: Notes on the kernel.
    """

    name: str
    plain: Task | None
    scale: int = 1
    reach: int = 0
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> WindowTask:
        """The task of these settings.

        Raises:
            InvalidArgument: If it is not local, or a parameter is missing, or not for it.
            PictureError: If the kernel cannot be read.
        """
        name = str(settings.task)
        kind = split_word(name)[0]
        expected = f"a task that is the same at every place ({', '.join(LOCAL)})"
        require(kind in LOCAL, "task", expected=expected, got=name)
        require(not settings.fit_mask, "fit-mask", expected="a mask of the same size", got="True")
        if kind == "inpaint":
            make_task(name, mask=torch.ones(1, 1, 1), scale=settings.scale)
            if settings.kernel is not None:
                raise InvalidArgument("kernel", expected="none for the task inpaint", got="one")
            expected = "a file for the task inpaint (.npy, .tif or .zarr, of the same size)"
            require(settings.mask is not None, "mask", expected=expected, got="none")
            return cls(name, None)
        given = settings.mask is None
        require(given, "mask", expected=f"none for the task {kind}", got=settings.mask)
        notes: list[str] = []
        psf = None if settings.kernel is None else take_kernel(settings.kernel, notes)
        task = make_task(name, scale=settings.scale, kernel=psf)
        scale = task.factor if isinstance(task, SuperResolve) else 1
        reach = 0 if psf is None else max(psf.shape)
        return cls(name, task, scale, REACH if scale > 1 else reach, tuple(notes))

    def window(self, valid: Bool[Tensor, "c h w"], kept: Bool[Tensor, "1 h w"] | None) -> Task:
        """The task of a window.

        Arguments:
            valid: Which values are there.
            kept: What the mask keeps; None without a mask.
        """
        if kept is not None:
            valid = valid & kept
        if self.plain is not None and bool(valid.all()):
            return self.plain
        if self.plain is None or isinstance(self.plain, Denoise):
            alike = bool((valid == valid[:1]).all())
            return Inpaint((valid[:1] if alike else valid).float())
        return Partial(self.plain, valid)
