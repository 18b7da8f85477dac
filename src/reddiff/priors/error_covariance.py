r"""The covariance of a denoiser's error, a model of it, and how it is measured.

At level s the denoiser leaves an error :math:`x_0 - D(x_0 + s n, s)`. Its covariance :math:`C_s`
says how far each direction of x may still be moved by other evidence: about :math:`s^2` where
neighboring pixels say nothing, and almost 0 where they tell all. For photos it falls by orders
of magnitude from low to high frequencies.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fft import fftfreq, irfft2, rfft2, rfftfreq

from reddiff.errors import require
from reddiff.lanes import per_lane
from reddiff.random import MEASURING, Keys

if TYPE_CHECKING:
    from reddiff.priors.base import Prior

LEVELS = (0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0, 10.0, 20.0)
BANDS = 24  # of the spatial frequency, evenly spaced in its logarithm
LOWEST, HIGHEST = 1 / 128, 0.5**0.5  # cycles per pixel: of 128 pixels, and of the diagonal
BATCH = 16  # images that are denoised at once

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Covariance:
    """A covariance C with known eigenvectors, one per lane.

    Arguments:
        variance: The eigenvalues, with as many axes as `to` returns, and of a size that broadcasts.
        to: x -> its coordinates along the eigenvectors.
        back: The inverse of `to`.
    """

    variance: Tensor
    to: Map
    back: Map

    def __call__(self, v: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """C v."""
        return self.back(self.variance * self.to(v))

    def root(self, v: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """C^(1/2) v: of white noise, a draw from N(0, C)."""
        return self.back(self.variance.sqrt() * self.to(v))

    def given(self, s: Float[Tensor, " b"]) -> Covariance:
        """(C^-1 + s^-2)^-1, of a Gaussian x of covariance C given x + s n, one level per lane."""
        s2 = per_lane(s.to(self.variance) ** 2, self.variance)
        return Covariance(self.variance * s2 / (self.variance + s2), self.to, self.back)

    def before(self, s: Float[Tensor, " b"]) -> Covariance:
        """(C^-1 - s^-2)^-1, the inverse of `given`; C is below s^2."""
        s2 = per_lane(s.to(self.variance) ** 2, self.variance)
        least = torch.finfo(s2.dtype).eps * s2
        return Covariance(
            self.variance * s2 / (s2 - self.variance).clamp(min=least), self.to, self.back
        )

    def scaled(self, factor: Float[Tensor, " b"]) -> Covariance:
        """Factor times C."""
        return Covariance(per_lane(factor, self.variance) * self.variance, self.to, self.back)


def white(variance: float, like: Float[Tensor, "b *n"]) -> Covariance:
    """The same variance in every direction of x."""
    return Covariance(like.new_full((1,) * like.ndim, variance), _same, _same)


def isotropic(s: Float[Tensor, " b"], like: Float[Tensor, "b *n"]) -> Covariance:
    """s^2 / (1 + s^2) in every direction: the error for x of independent entries of variance 1."""
    return white(1.0, like).given(s)


@dataclass(frozen=True, eq=False)
class ErrorSpectrum:
    r"""A stationary model of the error of a denoiser of pictures of any size.

    The error is described by its mean power at each level, color axis and spatial frequency
    (whatever its direction), interpolated linearly in the logarithms of all three. Borders are
    treated as periodic. At levels below the first, the power falls as :math:`s^2`; it never
    exceeds :math:`s^2`, the error of the noisy picture itself.

    Arguments:
        levels: Noise levels, ascending, `(l,)`.
        frequencies: Spatial frequencies in cycles per pixel, ascending, `(f,)`.
        axes: An orthogonal matrix whose columns are the color axes, `(c, c)`.
        power: The mean square of the error in orthonormal coordinates, `(l, c, f)`.

    Raises:
        InvalidArgument: If the shapes do not fit, or a level, frequency or power is not positive.
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
        """C_s of pictures of a size, one level per lane."""
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
        """The spectrum of a prior's error on some images, in one evaluation per image and level.

        Arguments:
            prior: The prior. Levels that it is not good for are left out.
            images: Pictures in the units of x; about a hundred of 64x64 pixels will do. Frequencies
                below one cycle in 128 pixels, or in the longer side, count as the lowest.
            levels: Noise levels.
            seed: Of the noise.

        Raises:
            InvalidArgument: If the prior does not take the images, or knows less than two levels.
        """
        fits = images.ndim == 4 and prior.accepts(tuple(images.shape[1:]))
        expected = f"shape (n, *{prior.shape})"
        require(fits, "images", expected=expected, got=tuple(images.shape))
        low, high = prior.sigma_min, prior.sigma_max
        known = [s for s in sorted(levels) if low <= s <= high]
        expected = f"two or more from {low:g} to {high:g}"
        require(len(known) > 1, "levels", expected=expected, got=list(levels))
        axes, bands = _color_axes(images), _Bands(images)
        rows = []
        for s in known:
            errors = []
            for first in range(0, len(images), BATCH):
                x = images[first : first + BATCH]
                ids = tuple(range(first, first + len(x)))
                noise = Keys(seed, ids).at(MEASURING).randn_like(x)
                errors.append(x - prior(x + s * noise, s))
            error = torch.cat(errors)
            rows.append(bands.power(torch.einsum("cd,bchw->bdhw", axes.to(error), error)))
        return cls(torch.tensor(known, dtype=torch.float64), bands.centers, axes, torch.stack(rows))

    def to_json(self) -> str:
        """One line of JSON, for the metadata of a weights file."""
        digits = {"levels": 6, "frequencies": 6, "axes": 6, "power": 4}
        lists = {n: _rounded(getattr(self, n).tolist(), d) for n, d in digits.items()}
        return json.dumps(lists, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ErrorSpectrum:
        """What `to_json` wrote.

        Raises:
            InvalidArgument: If it does not hold a spectrum.
        """
        try:
            parts = json.loads(text)
            names = ("levels", "frequencies", "axes", "power")
            tensors = [torch.tensor(parts[name], dtype=torch.float64) for name in names]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            require(False, "errors", expected="an error spectrum in JSON", got=str(error)[:60])
        return cls(*tensors)

    def gray(self) -> ErrorSpectrum:
        """That of `GrayPrior`: the channel mean, of three channels at sqrt(3) times the level."""
        weights = (self.axes.sum(0) / len(self.axes)) ** 2
        power = torch.einsum("c,lcf->lf", weights, self.power)[:, None]
        one = torch.ones_like(self.axes[:1, :1])
        return ErrorSpectrum(self.levels / len(self.axes) ** 0.5, self.frequencies, one, power)


class _Bands:
    """Bands of spatial frequency of pictures of one size, and the power in them."""

    def __init__(self, like: Float[Tensor, "n c h w"]) -> None:
        height, width = like.shape[-2:]
        lowest = max(1 / max(height, width), LOWEST)
        edges = torch.logspace(math.log10(lowest), math.log10(HIGHEST), BANDS + 1).to(like.device)
        f = (fftfreq(height)[:, None] ** 2 + fftfreq(width) ** 2).sqrt().to(like.device)
        self.band = torch.bucketize(f, edges[1:-1])
        count = torch.bincount(self.band.flatten(), minlength=BANDS)
        total = torch.zeros(BANDS, device=f.device).index_add(0, self.band.flatten(), f.flatten())
        self.used = count > 0
        self.count = count[self.used]
        self.centers = (total[self.used] / self.count).double().cpu().clamp(min=lowest)

    def power(self, errors: Float[Tensor, "n c h w"]) -> Float[Tensor, "c f"]:
        """The mean square of orthonormal coordinates in every band."""
        square = torch.fft.fft2(errors.double(), norm="ortho").abs().square().mean(0)
        sums = square.new_zeros(len(square), BANDS)
        sums.index_add_(1, self.band.flatten(), square.flatten(1))
        return (sums[:, self.used] / self.count).cpu()


def _color_axes(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "c c"]:
    """The eigenvectors of the covariance of the channels, least first."""
    centered = (images - images.mean((2, 3), keepdim=True)).double()
    return torch.linalg.eigh(torch.einsum("bchw,bdhw->cd", centered, centered).cpu())[1]


def _place(grid: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Where numbers stand in an ascending grid: index, and part of the way to the next, in log."""
    index = (torch.bucketize(at, grid) - 1).clamp(0, len(grid) - 2)
    low, high = grid[index].log(), grid[index + 1].log()
    log_at = at.clamp(min=float(grid[0]), max=float(grid[-1])).log()
    return index, ((log_at - low) / (high - low)).clamp(0, 1)


def _rounded(value: Any, digits: int) -> Any:
    """A nested list with numbers of a few significant digits."""
    if isinstance(value, list):
        return [_rounded(v, digits) for v in value]
    return float(f"{value:.{digits}g}")


def _same(v: Tensor) -> Tensor:
    return v
