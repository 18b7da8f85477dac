r"""Networks as priors: each class turns one training target into :math:`E[x_0 \mid x_t]`.

The noise level of a prior is s = sigma / alpha; each class finds the network's own time from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from reddiff.errors import require
from reddiff.priors.base import Prior
from reddiff.priors.networks import Network, check_network, computes_in, evaluate, read_abar

Shape = tuple[int | None, ...]


class _DiscreteVP(Prior):
    """A network over the T steps of a variance-preserving chain.

    Arguments:
        net: `net(x_t, t)` with t `(b,)`, 0 to T - 1: a module or a function. It gives a tensor, an
            output with a tensor `sample` (diffusers), or a tuple that begins with one; of twice the
            channels of x (a learned variance) the first half is taken.
        shape: The shape of one x.
        abar: The T values of alpha^2, decreasing; a tensor, an array or a list. Where the last is 0
            (a terminal signal-to-noise ratio of zero) that step is left out.
        integer_time: Round t to the nearest trained step, for networks that look it up; else t is
            interpolated in log s.
        multiple: Sides of x that are no multiple of it are extended for the network, by repeating
            the edge, and cut afterwards: 8 for a U-Net that halves sides three times.

    Raises:
        InvalidArgument: If abar is not a decreasing vector between 0 and 1, or (when used) the
            network gives another shape.
    """

    log_levels: Tensor

    def __init__(
        self,
        net: Network,
        shape: Shape,
        abar: Tensor | NDArray[Any] | Sequence[float],
        *,
        integer_time: bool = False,
        multiple: int = 1,
    ) -> None:
        check_network(net, multiple)
        values = read_abar(abar)
        levels = ((1 - values) / values).sqrt()
        super().__init__(shape, float(levels[0]), float(levels[-1]))
        self.net, self.integer_time, self.multiple = net, integer_time, multiple
        if isinstance(abar, Tensor):
            levels = levels.to(abar.device)
        self.register_buffer("log_levels", levels.log(), persistent=False)

    @property
    def dtype(self) -> torch.dtype | None:
        """That of the network's parameters; None for a function."""
        return next((p.dtype for p in self.parameters()), None)

    def call(self, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """The network's output at x_t = alpha x, and alpha."""
        alpha = torch.rsqrt(1 + s**2)
        return evaluate(self.net, alpha * x, self.time(s.flatten()), self.multiple), alpha

    def time(self, s: Float[Tensor, " b"]) -> Tensor:
        """The step t at which the chain has the level s."""
        log_s, levels = s.double().log(), self.log_levels.double()
        i = torch.searchsorted(levels, log_s).clamp(1, len(levels) - 1)
        t = i - 1 + (log_s - levels[i - 1]) / (levels[i] - levels[i - 1])
        t = t.clamp(0, len(levels) - 1)
        return t.round().long() if self.integer_time else t.to(s.dtype)


class EpsPrior(_DiscreteVP):
    r"""A network that predicts the noise (DDPM, ADM): :math:`x_0 = x - s\,\hat\varepsilon`.

    References:
        | Denoising Diffusion Probabilistic Models (Ho et al., 2020), https://arxiv.org/abs/2006.11239
    """

    def denoise(self, x: Float[Tensor, "b *n"], sigma: Tensor) -> Float[Tensor, "b *n"]:
        """x - s eps."""
        eps, _ = self.call(x, sigma)
        return x - sigma * eps


class VPrior(_DiscreteVP):
    r"""A network that predicts :math:`v = \alpha \varepsilon - \sigma x_0`.

    References:
        | Progressive Distillation (Salimans & Ho, 2022), https://arxiv.org/abs/2202.00512
    """

    def denoise(self, x: Float[Tensor, "b *n"], sigma: Tensor) -> Float[Tensor, "b *n"]:
        """alpha x_t - sigma_t v."""
        v, alpha = self.call(x, sigma)
        return alpha**2 * x - alpha * sigma * v


class X0Prior(_DiscreteVP):
    """A network over a VP chain that predicts x_0 itself."""

    def denoise(self, x: Float[Tensor, "b *n"], sigma: Tensor) -> Float[Tensor, "b *n"]:
        return self.call(x, sigma)[0]


class FlowPrior(Prior):
    r"""A rectified flow, :math:`x_t = (1 - t) x_0 + t n`, network output :math:`n - x_0`.

    Arguments:
        net: `net(x_t, t)` with t `(b,)` in (0, 1), a module or a function; see `EpsPrior`.
        shape: The shape of one x.
        t_min: The least t the network is good for.
        t_max: The largest.
        multiple: See `EpsPrior`.

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
        check_network(net, multiple)
        good = 0 <= t_min < t_max < 1
        got = f"{t_min}, {t_max}"
        require(good, "t_min, t_max", expected="0 <= t_min < t_max < 1", got=got)
        super().__init__(shape, t_min / (1 - t_min), t_max / (1 - t_max))
        self.net, self.multiple = net, multiple

    def denoise(self, x: Float[Tensor, "b *n"], sigma: Tensor) -> Float[Tensor, "b *n"]:
        """x_t - t v."""
        t = sigma / (1 + sigma)
        x_t = (1 - t) * x
        return x_t - t * evaluate(self.net, x_t, t.flatten(), self.multiple)


def edm_coefficients(
    sigma: Tensor, sigma_data: float = 0.5
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """EDM's c_skip, c_out, c_in and c_noise, each of the shape of sigma.

    References:
        | Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
        | Table 1, https://arxiv.org/abs/2206.00364
    """
    var = sigma**2 + sigma_data**2
    c_out = sigma * sigma_data * torch.rsqrt(var)
    return sigma_data**2 / var, c_out, torch.rsqrt(var), sigma.log() / 4


class EDMPrior(Prior):
    r"""A network under EDM preconditioning.

    .. math:: D(x, s) = c_{skip} x + c_{out} F(c_{in} x, c_{noise})

    Arguments:
        net: F, `net(x, c_noise)` with c_noise = ln(s) / 4 `(b,)`, a module or a function; see
            `EpsPrior`.
        shape: The shape of one x.
        sigma_min: The least level it is good for.
        sigma_max: The largest.
        sigma_data: The standard deviation of the data the network was trained with.
        compute: The dtype the network computes in, under autocast; that of x by default. A CPU
            without bfloat16 instructions only emulates them, several times slower than float32:
            there `torch.bfloat16` is ignored.
        bound: Where F is cut off. It has unit variance by construction, so values of many
            deviations are errors of the network; no bound by default.
        multiple: See `EpsPrior`.

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
        check_network(net, multiple)
        super().__init__(shape, sigma_min, sigma_max)
        require(bound > 0, "bound", expected="a positive number", got=bound)
        good = sigma_data > 0 and math.isfinite(sigma_data)
        require(good, "sigma_data", expected="a positive number", got=sigma_data)
        self.net, self.sigma_data, self.compute, self.bound = net, sigma_data, compute, bound
        self.multiple = multiple

    def denoise(self, x: Float[Tensor, "b *n"], sigma: Tensor) -> Float[Tensor, "b *n"]:
        """c_skip x + c_out F(c_in x, c_noise)."""
        c_skip, c_out, c_in, c_noise = edm_coefficients(sigma, self.sigma_data)
        half = self.compute is not None and computes_in(self.compute, x.device)
        with torch.autocast(x.device.type, self.compute, enabled=half):
            f = evaluate(self.net, c_in * x, c_noise.flatten(), self.multiple)
        return c_skip * x + c_out * f.to(x.dtype).clamp(-self.bound, self.bound)
