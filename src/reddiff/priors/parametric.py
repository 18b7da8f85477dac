r"""Common networks as priors: each class names one training target and its path.

The noise level of a prior is s = sigma / alpha; the path finds the network's own time from it.
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
    """A network over the T steps of a variance-preserving chain.

    Arguments:
        net: `net(x_t, t)` with t `(b,)`, 0 to T - 1; see `NetworkPrior`.
        shape: The shape of one x.
        abar: The T values of alpha^2, decreasing; a tensor, an array or a list. Where the last is 0
            (a terminal signal-to-noise ratio of zero) that step is left out.
        integer_time: Round t to the nearest trained step, for networks that look it up; else t is
            interpolated in log s.
        multiple: See `NetworkPrior`.

    Raises:
        InvalidArgument: If abar is not a decreasing vector between 0 and 1, or (when used) the
            network gives another shape.
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
    """A network over a VP chain that predicts x_0 itself."""

    target = X0()


class FlowPrior(NetworkPrior):
    r"""A rectified flow, :math:`x_t = (1 - t) x_0 + t n`, network output :math:`n - x_0`.

    Arguments:
        net: `net(x_t, t)` with t `(b,)` in (0, 1); see `NetworkPrior`.
        shape: The shape of one x.
        t_min: The least t the network is good for.
        t_max: The largest.
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
    r"""A network under EDM preconditioning.

    .. math:: D(x, s) = c_{skip} x + c_{out} F(c_{in} x, c_{noise})

    Arguments:
        net: F, `net(x, c_noise)` with c_noise = ln(s) / 4 `(b,)`; see `NetworkPrior`.
        shape: The shape of one x.
        sigma_min: The least level it is good for.
        sigma_max: The largest.
        sigma_data: The standard deviation of the data the network was trained with.
        compute: See `NetworkPrior`.
        bound: Where F is cut off. It has unit variance by construction, so values of many
            deviations are errors of the network; no bound by default.
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
