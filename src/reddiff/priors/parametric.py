r"""Priors for common parametrizations: each class stands for one training target and path.

The noise level of a prior is s = sigma / alpha; the path maps it to the network's time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from reddiff.priors.network_prior import NetworkPrior, Shape
from reddiff.priors.networks import Network
from reddiff.priors.paths import Chain, EDMInput
from reddiff.priors.predictions import X0, EDMOutput, Eps, Prediction, V, Velocity
from reddiff.priors.predictions import edm_coefficients as edm_coefficients
from reddiff.priors.straight import Straight

Table = Tensor | NDArray[Any] | Sequence[float]


class _DiscreteVP(NetworkPrior):
    """A network trained on the T steps of a variance-preserving (VP) chain.

    Arguments:
        net: `net(x_t, t)` with t `(b,)` from 0 to T - 1; see `NetworkPrior`.
        shape: The shape of one x.
        abar: The T values of alpha^2, decreasing, as a tensor, an array or a list. A last value of
            0 (zero terminal SNR) is dropped.
        integer_time: Whether to round t to the nearest integer, for networks that look it up in a
            table; otherwise t is interpolated in log s.
        multiple: See `NetworkPrior`.

    Raises:
        InvalidArgument: If `abar` does not decrease within (0, 1), or, when applied, if the
            output of the network has the wrong shape.
    """

    target: Prediction

    def __init__(
        self,
        net: Network,
        shape: Shape,
        abar: Table,
        *,
        integer_time: bool = False,
        multiple: int = 1,
    ) -> None:
        path = Chain(abar, integer_time=integer_time)
        super().__init__(net, shape, self.target, path, multiple=multiple)


class EpsPrior(_DiscreteVP):
    r"""A network that predicts the noise (DDPM, ADM): :math:`x_0 = x - s\,\hat\varepsilon`.

    References:
        | Denoising Diffusion Probabilistic Models (Ho et al., 2020), https://arxiv.org/abs/2006.11239
    """

    target = Eps()


class VPrior(_DiscreteVP):
    r"""A network that predicts :math:`v = \alpha \varepsilon - \sigma x_0`.

    References:
        | Progressive Distillation (Salimans & Ho, 2022), https://arxiv.org/abs/2202.00512
    """

    target = V()


class X0Prior(_DiscreteVP):
    """A network, trained on a VP chain, that predicts x_0."""

    target = X0()


class FlowPrior(NetworkPrior):
    r"""A rectified flow, :math:`x_t = (1 - t) x_0 + t n`; the network predicts :math:`n - x_0`.

    Arguments:
        net: `net(x_t, t)` with t `(b,)` in (0, 1); see `NetworkPrior`.
        shape: The shape of one x.
        t_min: The smallest t that the network was trained for, in [0, 1).
        t_max: The largest t that the network was trained for, below 1.
        multiple: See `NetworkPrior`.

    References:
        | Flow Straight and Fast (Liu et al., 2023), https://arxiv.org/abs/2209.03003
    """

    def __init__(
        self,
        net: Network,
        shape: Shape,
        t_min: float = 0.0,
        t_max: float = 0.9999,
        *,
        multiple: int = 1,
    ) -> None:
        super().__init__(net, shape, Velocity(), Straight(t_min, t_max), multiple=multiple)


class EDMPrior(NetworkPrior):
    r"""A network with EDM preconditioning.

    .. math:: D(x, s) = c_{skip} x + c_{out} F(c_{in} x, c_{noise})

    Arguments:
        net: F, `net(x, c_noise)` with c_noise = ln(s) / 4 `(b,)`; see `NetworkPrior`.
        shape: The shape of one x.
        sigma_min: The lowest noise level that the network was trained for.
        sigma_max: The highest noise level that the network was trained for.
        sigma_data: The standard deviation of the training data.
        compute: See `NetworkPrior`.
        bound: Clips F to [-bound, bound]. F has unit variance by construction, so that values of
            many standard deviations are errors of the network. By default there is no bound.
        multiple: See `NetworkPrior`.

    References:
        | Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
        | Table 1, https://arxiv.org/abs/2206.00364
    """

    def __init__(
        self,
        net: Network,
        shape: Shape,
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
        sigma_data: float = 0.5,
        compute: torch.dtype | None = None,
        bound: float = math.inf,
        *,
        multiple: int = 1,
    ) -> None:
        path = EDMInput(sigma_min, sigma_max, sigma_data)
        target = EDMOutput(sigma_data, bound)
        super().__init__(net, shape, target, path, compute=compute, multiple=multiple)
