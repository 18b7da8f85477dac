"""How an iterate is updated after the network is evaluated, in the spectral coordinates of A."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reddiff import LaneOptimizer, Problem
from reddiff.lanes import norm, per_lane
from reddiff.operators import SpectralOperator
from reddiff.optim import MakeOptimizer, cosine_lr
from reddiff.spectral_view import SpectralView

BISECTIONS = 40


@dataclass(frozen=True, eq=False)
class View:
    """The measurement of each spectral coordinate: `y` = y_i / s_i, with noise of `sigma`."""

    problem: Problem
    y: Tensor
    sigma: Tensor
    seen: Tensor
    operator: SpectralOperator
    sigma_y: Tensor
    norm: Tensor

    @classmethod
    def of(cls, problem: Problem) -> View:
        view = SpectralView.required(problem)
        size = torch.where(view.seen, view.s, 0).flatten(1).amax(1)
        sigma_y = torch.as_tensor(problem.sigma_y, dtype=size.dtype).expand(len(size))
        sigma = torch.where(view.seen, view.sigma_x, 1)
        return cls(problem, view.x, sigma, view.seen, view.operator, sigma_y, size)

    def proximal(self, d: Tensor, size2: Tensor) -> Tensor:
        x = (self.y * size2 + d * self.sigma**2) / (size2 + self.sigma**2)
        return torch.where(self.seen, x, d)

    def tau2(self, s: Tensor) -> Tensor:
        """s^2 less the variance of the noise in the best coordinate."""
        return s**2 - torch.minimum(per_lane(self.sigma_y / self.norm, s), s) ** 2

    def weight(self, s: Tensor) -> Tensor:
        """The weight of y in the input of the denoiser."""
        part = s**2 / (self.tau2(s) + self.sigma**2)
        return torch.where(self.seen, part.clamp(max=1), 0)

    def matched(self, s: Tensor) -> Tensor:
        return self.seen & (self.sigma <= s * (1 + 1e-5))


@dataclass(frozen=True, eq=False)
class State:
    """The iterate z, the one before, and the memory of some variants."""

    z: Tensor
    previous: Tensor
    eps: Tensor | None = None  # the predicted noise, (z_in - D) / s
    dual: Tensor | None = None
    optimizer: LaneOptimizer | None = None


@dataclass(frozen=True, eq=False)
class Seen:
    """Input and output D of the network, the level of each lane, rho, and progress from 0 to 1."""

    z: Tensor
    d: Tensor
    s: Tensor
    rho: float
    progress: float


Update = Callable[[View, State, Seen], State]


def tweedie(view: View, state: State, net: Seen, *, fresh: bool = True) -> State:
    """Tweedie's formula where y has less noise than s, elsewhere a proximal step.

    Arguments:
        fresh: The size of that step is the error of fresh noise, rather than s.
    """
    known = view.y + (view.sigma / net.s) ** 2 * (net.d - net.z)
    other = view.proximal(net.d, net.rho**2 * view.tau2(net.s) if fresh else net.s**2)
    return replace(state, z=torch.where(view.matched(net.s), known, other))


def proximal(view: View, state: State, net: Seen) -> State:
    """The proximal step of the data term at D."""
    return replace(state, z=view.proximal(net.d, net.s**2))


def ball(view: View, state: State, net: Seen) -> State:
    """The x nearest to D with ||y - A x|| <= sigma_y sqrt(M), by bisection on log lambda."""
    d, radius = net.d, view.sigma_y * view.problem.count.sqrt()
    gain = torch.where(view.seen, per_lane(view.sigma_y, d) / view.sigma, 0)
    r = gain * (view.y - d)
    low = -40.0 - 2 * view.norm.log()
    high = low + 80 + 2 * (norm(r) / radius).log()
    for _ in range(BISECTIONS):
        mid = (low + high) / 2
        outside = norm(r / (1 + per_lane(mid.exp(), d) * gain**2)) > radius
        low, high = torch.where(outside, mid, low), torch.where(outside, high, mid)
    outside = norm(r) > radius
    weight = per_lane(torch.where(outside, high.exp(), 0), d) * gain**2
    return replace(state, z=(d + weight * view.y) / (1 + weight))


def admm(view: View, state: State, net: Seen) -> State:
    """The scaled dual variable u gathers what denoiser and data disagree on."""
    u = (0 if state.dual is None else state.dual) + state.z - net.d
    return replace(state, z=view.proximal(net.d - u, net.s**2), dual=u)


def gradient(
    view: View,
    state: State,
    net: Seen,
    *,
    make: MakeOptimizer,
    scaled: bool = False,
    diagonal: bool = False,
) -> State:
    """A step of an optimizer, in pixels, on the gradient in nats.

    Arguments:
        scaled: The gradient over its largest curvature, ||A||^2 / sigma_y^2 + 1 / s^2.
        diagonal: Over its curvature in each spectral coordinate (to z - `proximal`, then).
    """
    data = torch.where(view.seen, view.sigma**-2, 0)
    slope = data * (state.z - view.y) + (state.z - net.d) / net.s**2
    if diagonal:
        slope = slope / (data + net.s**-2)
    if scaled:
        slope = slope / per_lane((view.norm / view.sigma_y) ** 2 + net.s.flatten() ** -2, slope)
    v, vt = view.operator.v, view.operator.vt
    optimizer = state.optimizer or LaneOptimizer(v(state.z))
    optimizer = optimizer.step(make, v(slope), cosine_lr(net.progress))
    return replace(state, z=vt(optimizer.x), optimizer=optimizer)
