r"""Weightings w(s) of RED-diff, :math:`\lambda_t = \lambda\,w(s)` with s = sigma / alpha.

References:
    | A Variational Perspective on Solving Inverse Problems with Diffusion Models
    | (Mardani et al., 2023), Section 4.3 and Appendix C.6, https://arxiv.org/abs/2305.04391
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from reddiff.errors import lookup

Weighting = Callable[[Tensor], Tensor]


def linear(s: Tensor) -> Tensor:
    """s, the paper's choice, which weights residuals of the denoiser equally in units of x."""
    return s


def sqrt(s: Tensor) -> Tensor:
    """The square root of s."""
    return s.sqrt()


def square(s: Tensor) -> Tensor:
    """s^2."""
    return s**2


def log(s: Tensor) -> Tensor:
    """ln(1 + s)."""
    return s.log1p()


def trunc_linear(s: Tensor) -> Tensor:
    """min(s, 1)."""
    return s.clamp(max=1)


def power2over3(s: Tensor) -> Tensor:
    """s^(2/3)."""
    return s ** (2 / 3)


def const(s: Tensor) -> Tensor:
    """1 at every level."""
    return s.new_ones(()).expand_as(s)


WEIGHTINGS: dict[str, Weighting] = {
    f.__name__: f for f in (linear, sqrt, square, log, trunc_linear, power2over3, const)
}


def weighting(name: str) -> Weighting:
    """The weighting with this name, for command lines and configuration files.

    Raises:
        InvalidArgument: If there is no such weighting.
    """
    return lookup(WEIGHTINGS, "weighting", name)
