"""Training targets of networks, and the estimate x_0 derived from a network's output."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from reddiff.errors import require
from reddiff.priors.paths import Path


class Prediction(ABC):
    """Base class of training targets."""

    @abstractmethod
    def x_0(self, out: Tensor, x: Tensor, s: Tensor, path: Path) -> Tensor:
        """The estimate of x_0 from the network's output.

        Arguments:
            out: The output of the network, with the shape of x.
            x: x_0 + s n.
            s: The noise level `(b, 1, ..., 1)`.
            path: The path, with network inputs x_t = alpha x.
        """


@dataclass(frozen=True)
class Eps(Prediction):
    r"""The noise (DDPM, ADM): :math:`x_0 = x - s\,\hat\varepsilon`."""

    def x_0(self, out: Tensor, x: Tensor, s: Tensor, path: Path) -> Tensor:
        return x - s * out


@dataclass(frozen=True)
class V(Prediction):
    r""":math:`v = a \varepsilon - b x_0` with :math:`a^2 + b^2 = 1` and :math:`b / a = s`.

    References:
        | Progressive Distillation (Salimans & Ho, 2022), https://arxiv.org/abs/2202.00512
    """

    def x_0(self, out: Tensor, x: Tensor, s: Tensor, path: Path) -> Tensor:
        a = torch.rsqrt(1 + s**2)
        return a**2 * x - a * s * out


@dataclass(frozen=True)
class X0(Prediction):
    """x_0: denoisers D(x, sigma), the preconditioned D of EDM, consistency models."""

    def x_0(self, out: Tensor, x: Tensor, s: Tensor, path: Path) -> Tensor:
        return out


@dataclass(frozen=True)
class Score(Prediction):
    r"""The gradient of ln p(x_t): :math:`x_0 = x + \alpha s^2 \nabla \ln p`."""

    def x_0(self, out: Tensor, x: Tensor, s: Tensor, path: Path) -> Tensor:
        return x + path.alpha(s) * s**2 * out


@dataclass(frozen=True)
class ScaledScore(Prediction):
    r"""The VE score times the noise level: :math:`\sigma \nabla \ln p = -\hat\varepsilon`."""

    def x_0(self, out: Tensor, x: Tensor, s: Tensor, path: Path) -> Tensor:
        return x + s * out


@dataclass(frozen=True)
class Velocity(Prediction):
    r"""The velocity :math:`u = \alpha'(t) x_0 + \sigma'(t) n`, with respect to the path's time."""

    def x_0(self, out: Tensor, x: Tensor, s: Tensor, path: Path) -> Tensor:
        p, q = path.from_velocity(s)
        return p * x + q * out


@dataclass(frozen=True)
class EDMOutput(Prediction):
    r"""F of the EDM preconditioning: :math:`x_0 = c_{skip} x + c_{out} F`.

    Arguments:
        sigma_data: The standard deviation of the training data.
        bound: Clips F to [-bound, bound]. F has unit variance by construction, so that values of
            many standard deviations are errors of the network. By default there is no bound.
    """

    sigma_data: float = 0.5
    bound: float = math.inf

    def __post_init__(self) -> None:
        require(self.bound > 0, "bound", expected="a positive number", got=self.bound)

    def x_0(self, out: Tensor, x: Tensor, s: Tensor, path: Path) -> Tensor:
        c_skip, c_out, _, _ = edm_coefficients(s, self.sigma_data)
        if self.bound < math.inf:
            out = out.clamp(-self.bound, self.bound)
        return c_skip * x + c_out * out


def edm_coefficients(
    sigma: Tensor, sigma_data: float = 0.5
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """c_skip, c_out, c_in and c_noise of EDM, each with the shape of sigma.

    References:
        | Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
        | Table 1, https://arxiv.org/abs/2206.00364
    """
    var = sigma**2 + sigma_data**2
    c_out = sigma * sigma_data * torch.rsqrt(var)
    return sigma_data**2 / var, c_out, torch.rsqrt(var), sigma.log() / 4
