"""What a solver knows of a diffusion model: its denoiser, and nothing of its time variable."""

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

    A subclass implements `denoise` at alpha = 1; every other coordinate system follows, because
    the estimate depends on :math:`(x_t / \alpha, \sigma / \alpha)` only.

    Arguments:
        shape: The shape of one x; None where any size is accepted.
        sigma_min: The lowest level sigma / alpha the denoiser is good for.
        sigma_max: The highest.
    """

    def __init__(
        self, shape: tuple[int | None, ...], sigma_min: float = 0.0, sigma_max: float = math.inf
    ) -> None:
        super().__init__()
        ordered = 0 <= sigma_min < sigma_max
        got = f"{sigma_min}, {sigma_max}"
        require(ordered, "sigma_min, sigma_max", expected="0 <= sigma_min < sigma_max", got=got)
        self.shape, self.sigma_min, self.sigma_max = tuple(shape), sigma_min, sigma_max

    values: tuple[float, float] | None = None  # the range of x it was trained on, if known
    errors: ErrorSpectrum | None = None  # its measured error, for pictures
    evaluations: int = 1  # of the network, to denoise one x
    vjps: int = 0  # backward passes within it
    lanes: int | None = None  # that its conditions are for; None if they are shared
    trusted: bool = False  # known to be a denoiser: `solve` need not try it
    differentiable: bool = True  # whether it has a vjp

    @abstractmethod
    def denoise(self, x: Float[Tensor, "b *n"], sigma: Tensor) -> Float[Tensor, "b *n"]:
        """E[x_0 | x_0 + sigma n = x], with `sigma` broadcast to the rank of x: `(b, 1, ..., 1)`."""

    @final  # type: ignore[misc]  # torch declares forward as an attribute
    def forward(
        self, x_t: Float[Tensor, "b *n"], sigma: Tensor | float, alpha: Tensor | float = 1.0
    ) -> Float[Tensor, "b *n"]:
        """E[x_0 | x_t]; sigma and alpha are numbers, or per lane."""
        self._check(x_t)
        x = x_t
        sigma = per_lane(sigma, x_t)
        if isinstance(alpha, Tensor) or alpha != 1:  # else x_t is not copied
            alpha = per_lane(alpha, x_t)
            x, sigma = x_t / alpha, sigma / alpha
        return self.denoise(x, sigma.expand(len(x_t), *[1] * (x_t.ndim - 1)))

    def _check(self, x_t: Tensor) -> None:
        """Refuse an x of whole or complex numbers, or of another shape."""
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
            x_t: `(b, *n)`.
            sigma: Of x_t, one number or one per lane.
            alpha: As sigma.
            once: Whether the pullback is called only once. What the network has saved is then freed
                layer by layer on the way back; a second call raises a RuntimeError.
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

        It is what was measured, if `errors` holds a spectrum; else that of independent entries of
        variance 1, `covariance.isotropic`, which is too wide for most data.

        Arguments:
            s: Noise levels, one per lane.
            like: A tensor of the shape, dtype and device of x.
        """
        return isotropic(s, like) if self.errors is None else self.errors.at(s, like)

    def gaussianity(
        self, s: Float[Tensor, " b"], like: Float[Tensor, "b *n"]
    ) -> Float[Tensor, " b"]:
        """The variance of the error, over what a Gaussian prior of the same covariance would leave.

        The covariance is that of x as seen in the error at the highest level. 1 for Gaussian
        priors; the lower it is, the more the denoiser gains from what is not Gaussian.

        Arguments:
            s: Noise levels, one per lane.
            like: A tensor of the shape, dtype and device of x.
        """
        top = torch.full_like(s, min(self.sigma_max, 1e3))
        signs = Keys(0, (0,)).at(MEASURING).randn_like(like[:1]).sign().expand_as(like)
        gaussian = self.error_covariance(top, like).before(top).given(s)
        return dot(signs, self.error_covariance(s, like)(signs)) / dot(signs, gaussian(signs))

    @property
    def dtype(self) -> torch.dtype | None:
        """The floating-point type that x must have; None if any will do."""
        tensors = (*self.parameters(), *self.buffers())
        return next((t.dtype for t in tensors if t.is_floating_point()), None)

    def select(self, index: Tensor) -> Prior:
        """The prior of the lanes of these indices, in this order; indices may repeat."""
        return self

    def given(
        self,
        *,
        label: int | Tensor | None = None,
        embedding: Tensor | None = None,
        guidance: float | Tensor = 1.0,
    ) -> Prior:
        """A view of a conditional prior under a condition; the weights are shared.

        Arguments:
            label: A class, or one per lane `(b,)`.
            embedding: One embedding, or one per lane `(b, ...)`.
            guidance: The weight of classifier-free guidance, one number or one per lane. 1 is the
                conditional network; any other costs a second evaluation.

        Raises:
            InvalidArgument: If the network takes no such condition, or guidance without a null one.
        """
        expected, got = "a network with conditions", type(self).__name__
        raise InvalidArgument("prior", expected=expected, got=got)

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether one x of this shape fits."""
        pairs = zip(self.shape, shape, strict=False)
        return len(shape) == len(self.shape) and all(a is None or a == b for a, b in pairs)
