"""The interface of diffusion models: a denoiser that depends on the noise level alone."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reddiff.errors import InvalidArgument, require
from reddiff.lanes import dot, per_lane
from reddiff.priors.covariance import Covariance, isotropic
from reddiff.priors.error_spectrum import ErrorSpectrum
from reddiff.random import MEASURING, Keys

Pullback = Callable[[Tensor], Tensor]


class Prior(nn.Module, ABC):
    r"""A diffusion prior: :math:`E[x_0 \mid x_t]` for :math:`x_t = \alpha x_0 + \sigma n`.

    A subclass implements `denoise`, for alpha = 1. All other parametrizations (VP, flow) follow,
    because the estimate depends on :math:`(x_t / \alpha, \sigma / \alpha)` alone.

    Arguments:
        shape: The shape of one x; None in place of a size if any size is accepted.
        sigma_min: The lowest noise level sigma / alpha at which the denoiser is valid, >= 0.
        sigma_max: The highest noise level at which it is valid.

    Raises:
        InvalidArgument: Unless 0 <= sigma_min < sigma_max.
    """

    def __init__(
        self, shape: tuple[int | None, ...], sigma_min: float = 0.0, sigma_max: float = math.inf
    ) -> None:
        super().__init__()
        ordered = 0 <= sigma_min < sigma_max
        got = f"{sigma_min}, {sigma_max}"
        require(ordered, "sigma_min, sigma_max", expected="0 <= sigma_min < sigma_max", got=got)
        self.shape, self.sigma_min, self.sigma_max = tuple(shape), sigma_min, sigma_max

    values: tuple[float, float] | None = None  # the range of x in the training data, if known
    errors: ErrorSpectrum | None = None  # the measured error of the denoiser, for images
    evaluations: int = 1  # network evaluations to denoise one x
    vjps: int = 0  # backward passes to denoise one x
    lanes: int | None = None  # number of lanes of its conditions; None if shared
    trusted: bool = False  # whether `solve` may skip the check that it denoises
    differentiable: bool = True  # whether `vjp` is available

    @abstractmethod
    def denoise(self, x: Float[Tensor, "b *n"], sigma: Tensor) -> Float[Tensor, "b *n"]:
        """E[x_0 | x_0 + sigma n = x], for noise levels `sigma` of shape `(b, 1, ..., 1)`."""

    @final  # type: ignore[misc]  # torch declares forward as an attribute
    def forward(
        self, x_t: Float[Tensor, "b *n"], sigma: Tensor | float, alpha: Tensor | float = 1.0
    ) -> Float[Tensor, "b *n"]:
        """E[x_0 | x_t], for x_t = alpha x_0 + sigma n.

        Arguments:
            x_t: `(b, *n)`, floating point.
            sigma: One number >= 0, or one per lane `(b,)`.
            alpha: One number > 0, or one per lane `(b,)`.

        Raises:
            InvalidArgument: If x_t has another shape or is not floating point.
        """
        self._check(x_t)
        x = x_t
        sigma = per_lane(sigma, x_t)
        if isinstance(alpha, Tensor) or alpha != 1:  # else x_t is not copied
            alpha = per_lane(alpha, x_t)
            x, sigma = x_t / alpha, sigma / alpha
        return self.denoise(x, sigma.expand(len(x_t), *[1] * (x_t.ndim - 1)))

    def _check(self, x_t: Tensor) -> None:
        """Raise InvalidArgument unless x_t is real floating point and of the right shape."""
        real = x_t.is_floating_point()
        require(real, "x_t", expected="a floating-point dtype", got=x_t.dtype)
        shape = tuple(x_t.shape)
        good = self.accepts(shape[1:])
        require(good, "x_t", expected=f"shape {('b', *self.shape)}", got=shape)

    def vjp(
        self,
        x_t: Float[Tensor, "b *n"],
        sigma: Tensor | float,
        alpha: Tensor | float = 1.0,
        *,
        once: bool = False,
    ) -> tuple[Float[Tensor, "b *n"], Pullback]:
        """E[x_0 | x_t] and its pullback v -> (d x_0 / d x_t)^T v.

        Arguments:
            x_t: `(b, *n)`, floating point.
            sigma: One number >= 0, or one per lane `(b,)`.
            alpha: One number > 0, or one per lane `(b,)`.
            once: Whether the pullback is called only once. Stored activations are then freed
                during the backward pass; a second call raises a RuntimeError.
        """
        with torch.enable_grad():
            leaf = x_t.detach().requires_grad_()
            x_0 = self(leaf, sigma, alpha)

        def pullback(v: Tensor) -> Tensor:
            (grad,) = torch.autograd.grad(x_0, leaf, v, retain_graph=not once)
            return grad

        return x_0.detach(), pullback

    def error_covariance(self, s: Float[Tensor, " b"], like: Float[Tensor, "b *n"]) -> Covariance:
        """The covariance of the error x_0 - E[x_0 | x_0 + s n], averaged over x_0 and n.

        If `errors` holds a spectrum, this is the measured covariance. Otherwise it is the one for
        independent entries of variance 1, s^2 / (1 + s^2) I, which is too large for most data.

        Arguments:
            s: Noise levels, one per lane.
            like: A tensor with the shape, dtype and device of x.
        """
        return isotropic(s, like) if self.errors is None else self.errors.at(s, like)

    def data_covariance(self, like: Float[Tensor, "b *n"]) -> Covariance:
        """The covariance of x, as seen in the error at the highest level.

        Arguments:
            like: A tensor of the shape, dtype and device of x.
        """
        top = like.new_full((len(like),), min(self.sigma_max, 1e3))
        return self.error_covariance(top, like).before(top)

    def gaussianity(
        self, s: Float[Tensor, " b"], like: Float[Tensor, "b *n"]
    ) -> Float[Tensor, " b"]:
        """Ratio of the error variance to that of a Gaussian prior with the same covariance.

        The covariance of x is `data_covariance`. The ratio is 1 for Gaussian priors; the smaller it
        is, the more the denoiser exploits non-Gaussian structure.

        Arguments:
            s: Noise levels, one per lane.
            like: A tensor with the shape, dtype and device of x.
        """
        signs = Keys(0, (0,)).at(MEASURING).randn_like(like[:1]).sign().expand_as(like)
        gaussian = self.data_covariance(like).given(s)
        return dot(signs, self.error_covariance(s, like)(signs)) / dot(signs, gaussian(signs))

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype that x must have; None if any floating-point dtype is accepted."""
        tensors = (*self.parameters(), *self.buffers())
        return next((t.dtype for t in tensors if t.is_floating_point()), None)

    def select(self, index: Tensor) -> Prior:
        """The prior for the lanes at these indices, in this order; indices may repeat."""
        return self

    def given(
        self,
        *,
        label: int | Tensor | None = None,
        embedding: Tensor | None = None,
        guidance: float | Tensor = 1.0,
    ) -> Prior:
        """The prior under a condition, as a view that shares the weights.

        Arguments:
            label: A class, or one per lane `(b,)`.
            embedding: One embedding, or one per lane `(b, ...)`.
            guidance: The weight of classifier-free guidance, one number or one per lane. 1 gives
                the conditional network; any other value costs a second evaluation.

        Raises:
            InvalidArgument: If the network does not take this kind of condition, or if guidance
                is requested and the network has no null condition.
        """
        expected, got = "a network with conditions", type(self).__name__
        raise InvalidArgument("prior", expected=expected, got=got)

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether the prior accepts one x of this shape."""
        pairs = zip(self.shape, shape, strict=False)
        return len(shape) == len(self.shape) and all(a is None or a == b for a, b in pairs)
