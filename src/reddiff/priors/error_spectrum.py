r"""A stationary model of the covariance of a denoiser's error.

At noise level s the error is :math:`x_0 - D(x_0 + s n, s)`, with covariance :math:`C_s`. It is
the uncertainty about x that remains, which a measurement can reduce. In directions that
neighboring pixels do not predict, the variance is about :math:`s^2`; in directions that they
predict well, it is almost 0. For photos it falls by orders of magnitude from low to high
frequencies.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fft import fftfreq, irfft2, rfft2, rfftfreq

from reddiff.errors import require
from reddiff.lanes import per_lane
from reddiff.priors.covariance import Covariance
from reddiff.priors.error_measurement import LEVELS, measured_error

if TYPE_CHECKING:
    from reddiff.priors.base import Prior


@dataclass(frozen=True, eq=False)
class ErrorSpectrum:
    r"""A stationary model of the error of a denoiser, for images of any size.

    The error is described by its mean power at each noise level, color axis and spatial frequency,
    averaged over directions. Power, level and frequency are interpolated linearly in their
    logarithms. Boundaries are treated as periodic. Below the first level the power falls as
    :math:`s^2`. It never exceeds :math:`s^2`, the error of the noisy image itself.

    Arguments:
        levels: Noise levels, ascending, `(l,)`.
        frequencies: Spatial frequencies in cycles per pixel, ascending, `(f,)`.
        axes: An orthogonal matrix whose columns are the color axes, `(c, c)`.
        power: The mean square of the error in orthonormal coordinates, `(l, c, f)`.

    Raises:
        InvalidArgument: If the shapes do not match, or a level, frequency or power is not positive.
    """

    levels: Tensor
    frequencies: Tensor
    axes: Tensor
    power: Tensor

    def __post_init__(self) -> None:
        for name in ("levels", "frequencies"):
            grid = getattr(self, name)
            good = grid.ndim == 1 and len(grid) > 1 and bool((grid.diff() > 0).all())
            good = good and bool(grid[0] > 0)
            require(good, name, expected="positive numbers, ascending", got=tuple(grid.shape))
        wanted = (len(self.levels), len(self.axes), len(self.frequencies))
        shape = tuple(self.power.shape)
        require(shape == wanted, "power", expected=f"shape {wanted}", got=shape)
        positive = bool((self.power > 0).all()) and bool(torch.isfinite(self.power).all())
        require(positive, "power", expected="positive finite numbers", got="others")
        square = self.axes.shape == (wanted[1], wanted[1])
        eye = torch.eye(wanted[1], dtype=self.axes.dtype, device=self.axes.device)
        good = square and torch.allclose(self.axes @ self.axes.mT, eye, atol=1e-4)
        require(good, "axes", expected="an orthogonal matrix", got=tuple(self.axes.shape))

    def at(self, s: Float[Tensor, " b"], like: Float[Tensor, "b c h w"]) -> Covariance:
        """C_s for images with the shape of `like`, one noise level per lane."""
        c, height, width = like.shape[1:]
        require(c == len(self.axes), "x", expected=f"{len(self.axes)} channels", got=c)
        s, axes = s.to(like), self.axes.to(like)
        fy = fftfreq(height, dtype=like.dtype, device=like.device)[:, None]
        f = (fy**2 + rfftfreq(width, dtype=like.dtype, device=like.device) ** 2).sqrt()
        band, at_f = _place(self.frequencies.to(like), f)
        row, at_s = _place(self.levels.to(like), s)
        log_power = self.power.to(like).log()
        rows = torch.lerp(log_power[row], log_power[row + 1], at_s[:, None, None])
        variance = torch.lerp(rows[..., band], rows[..., band + 1], at_f).exp()
        variance = variance * per_lane((s / self.levels[0].to(s)).clamp(max=1) ** 2, variance)

        def to(v: Tensor) -> Tensor:
            return rfft2(torch.einsum("cd,bchw->bdhw", axes, v))

        def back(z: Tensor) -> Tensor:
            v = irfft2(z, s=(height, width))
            return torch.einsum("cd,bdhw->bchw", axes, v)

        return Covariance(torch.minimum(variance, per_lane(s**2, variance)), to, back)

    @classmethod
    @torch.no_grad()
    def measure(
        cls,
        prior: Prior,
        images: Float[Tensor, "n c h w"],
        levels: Sequence[float] = LEVELS,
        *,
        seed: int = 0,
    ) -> ErrorSpectrum:
        """Measure the error of a prior on images, with one evaluation per image and level.

        Arguments:
            prior: The prior. Levels outside its range are left out.
            images: Images in the units of x; about a hundred of 64 x 64 pixels are enough.
                Frequencies below one cycle per 128 pixels, or per longer side, are merged into the
                lowest band.
            levels: Noise levels.
            seed: Random seed.

        Raises:
            InvalidArgument: If the prior does not accept the images, or if fewer than two levels
                are in its range.
        """
        return cls(*measured_error(prior, images, levels, seed))

    def to_json(self) -> str:
        """Serialize to one line of JSON, for the metadata of a file of weights."""
        digits = {"levels": 6, "frequencies": 6, "axes": 6, "power": 4}
        lists = {n: _rounded(getattr(self, n).tolist(), d) for n, d in digits.items()}
        return json.dumps(lists, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ErrorSpectrum:
        """Read a spectrum that `to_json` wrote.

        Raises:
            InvalidArgument: If `text` does not contain a spectrum.
        """
        try:
            parts = json.loads(text)
            names = ("levels", "frequencies", "axes", "power")
            tensors = [torch.tensor(parts[name], dtype=torch.float64) for name in names]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            require(False, "errors", expected="an error spectrum in JSON", got=str(error)[:60])
        return cls(*tensors)

    def gray(self) -> ErrorSpectrum:
        """The spectrum for `GrayPrior`: error of the channel mean, at levels divided by sqrt(3)."""
        weights = (self.axes.sum(0) / len(self.axes)) ** 2
        power = torch.einsum("c,lcf->lf", weights, self.power)[:, None]
        one = torch.ones_like(self.axes[:1, :1])
        return ErrorSpectrum(self.levels / len(self.axes) ** 0.5, self.frequencies, one, power)


def _place(grid: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Positions in an ascending grid: the index below, and the fraction to the next, in log."""
    index = (torch.bucketize(at, grid) - 1).clamp(0, len(grid) - 2)
    low, high = grid[index].log(), grid[index + 1].log()
    log_at = at.clamp(min=float(grid[0]), max=float(grid[-1])).log()
    return index, ((log_at - low) / (high - low)).clamp(0, 1)


def _rounded(value: Any, digits: int) -> Any:
    """A nested list of numbers, rounded to `digits` significant digits."""
    if isinstance(value, list):
        return [_rounded(v, digits) for v in value]
    return float(f"{value:.{digits}g}")
