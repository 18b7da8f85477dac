"""Resampling filters, and the matrices that resize with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require
from reddiff.operators.separable import Factor, factor


@dataclass(frozen=True)
class Filter:
    """A symmetric resampling filter w(u), with u >= 0 in pixels of the small image.

    Arguments:
        name: The name of the filter.
        support: The radius; w(u) = 0 for u >= support.
        weight: w, applied elementwise; its scale is arbitrary.

    Raises:
        InvalidArgument: If the support is not positive.
    """

    name: str
    support: float
    weight: Callable[[Tensor], Tensor]

    def __post_init__(self) -> None:
        require(self.support > 0, "support", expected="a positive number", got=self.support)


def _box(u: Tensor) -> Tensor:
    return torch.ones_like(u)


def _triangle(u: Tensor) -> Tensor:
    return 1 - u


def _bicubic(u: Tensor) -> Tensor:
    near = (1.5 * u - 2.5) * u**2 + 1
    far = ((-0.5 * u + 2.5) * u - 4) * u + 2
    return torch.where(u < 1, near, far)


def _lanczos(u: Tensor) -> Tensor:
    return torch.sinc(u) * torch.sinc(u / 3)


box = Filter("box", 0.5, _box)
triangle = Filter("triangle", 1.0, _triangle)
bicubic = Filter("bicubic", 2.0, _bicubic)
lanczos = Filter("lanczos", 3.0, _lanczos)


def resampling_matrix(
    size: int, scale: int, window: Filter, shift: float = 0.0
) -> Float[Tensor, "m n"]:
    r"""The matrix that resizes a line of `size` pixels to one of size / scale, in float64.

    .. math:: A_{ij} \propto w(|j + 1/2 - (i + 1/2) f - d| / f), \qquad \sum_j A_{ij} = 1

    with f the scale and d the shift. The filter is stretched by f, which prevents aliasing. At the
    borders it is truncated and normalized again, as in Pillow.
    """
    fine = torch.arange(size, dtype=torch.float64, device="cpu") + 0.5
    coarse = torch.arange(size // scale, dtype=torch.float64, device="cpu") + 0.5
    u = (fine - scale * coarse[:, None] - shift).abs() / scale
    weights = torch.where(u < window.support, window.weight(u), 0)
    return weights / weights.sum(1, keepdim=True)


@lru_cache(maxsize=16)
def resampling_factor(
    size: int,
    scale: int,
    window: Filter,
    dtype: torch.dtype,
    device: torch.device,
    shift: float = 0.0,
) -> Factor:
    """`resampling_matrix` and its singular value decomposition, cached."""
    with torch.inference_mode(False), torch.no_grad():  # so that autograd accepts it later
        made = factor(resampling_matrix(size, scale, window, shift))
        return made.to(torch.empty(0, dtype=dtype, device=device))
