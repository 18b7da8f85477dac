"""Statistics of standardized residuals, one number per lane.

They depend on the residual alone. For Gaussian noise their distribution does not depend on x.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Statistic = Callable[[Tensor, Tensor], Tensor]

LINE = tuple((0, d) for d in range(1, 6))
PLANE = tuple(
    (i, j) for i in range(3) for j in range(-2, 3) if (i > 0 or j > 0) and i * i + j * j < 6
)


def sum_of_squares(z: Float[Tensor, "b *m"], seen: Bool[Tensor, "b *m"]) -> Float[Tensor, " b"]:
    """The sum of z^2, which is chi-square distributed with M degrees of freedom."""
    return z.double().square().flatten(1).sum(1)


def autocorrelation(z: Float[Tensor, "b *m"], seen: Bool[Tensor, "b *m"]) -> Float[Tensor, " b"]:
    """The sum over lags of (sum of z z')^2 / (number of pairs), as by Ljung and Box.

    Sums are over measured pairs. z is first divided by its rms, so that only the shape of the
    correlation matters. NaN if there are no pairs.
    """
    plane = z.ndim >= 3 and z.shape[-2] > 1
    v = z.double() if z.ndim >= 3 else z.double()[:, None]
    w = (seen if z.ndim >= 3 else seen[:, None]).double()
    axes = tuple(range(1, v.ndim))
    power = v.square().sum(axes) / w.sum(axes).clamp(min=1)
    height, width = v.shape[-2:]
    total, lags = v.new_zeros(len(v)), v.new_zeros(len(v))
    for i, j in PLANE if plane else LINE:
        if i >= height or abs(j) >= width:
            continue
        near = slice(0, height - i), slice(max(0, -j), width - max(0, j))
        far = slice(i, height), slice(max(0, j), width - max(0, -j))
        product = (v[..., near[0], near[1]] * v[..., far[0], far[1]]).sum(axes)
        pairs = (w[..., near[0], near[1]] * w[..., far[0], far[1]]).sum(axes)
        total = total + torch.where(pairs > 0, product**2 / pairs.clamp(min=1), 0)
        lags = lags + (pairs > 0)
    return torch.where((lags > 0) & (power > 0), total / power**2, torch.nan)


def sign_changes(z: Float[Tensor, "b *m"], seen: Bool[Tensor, "b *m"]) -> Float[Tensor, " b"]:
    """The number of sign changes between consecutive measured entries (Wald and Wolfowitz).

    NaN for fewer than two entries.
    """
    used = seen.flatten(1)
    order = (~used).byte().argsort(dim=1, stable=True)  # the measured entries first
    up, used = (z.flatten(1) > 0).gather(1, order), used.gather(1, order)
    changes = ((up[:, 1:] != up[:, :-1]) & used[:, 1:]).sum(1).double()
    return torch.where(used.sum(1) > 1, changes, torch.nan)


def largest(z: Float[Tensor, "b *m"], seen: Bool[Tensor, "b *m"]) -> Float[Tensor, " b"]:
    """The largest |z|."""
    return z.double().abs().flatten(1).amax(1)


# Name -> the statistic, and whether its test is two-sided.
STATISTICS: dict[str, tuple[Statistic, bool]] = {
    "chi-square": (sum_of_squares, True),
    "whiteness": (autocorrelation, False),
    "runs": (sign_changes, True),
    "largest": (largest, False),
}
