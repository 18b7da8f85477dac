"""The loop of noise-aware RED-diff with every choice as an entry of a `Setting`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from ablation_updates import Seen, State, Update, View, tweedie
from torch import Tensor

from reddiff import Keys, Problem
from reddiff.lanes import per_lane
from reddiff.priors import Prior
from reddiff.random import Rng
from reddiff.solvers import NoiseAwareREDDiff

SOLVER = NoiseAwareREDDiff.default()


@dataclass(frozen=True)
class Setting:
    """The method, with every choice that the study varies.

    Arguments:
        beta, rho: Momentum and noise in units of s. `zeta`: the part of its variance that is fresh.
        steps, draws: Levels, and evaluations with noise of their own at each.
        first, last: Levels; the last in units of sigma_y / ||A||, or of sigma_y (`in_y`).
        spacing: 0: even in log s; p: even in s^(1/p).
        tail: The part of the steps that stays at the last level; the answer is the mean of the
            iterates there.
        matched: Whether the denoiser is shown measured coordinates, rather than the iterate.
        hard: If so, only those with less noise than s, and those without a part of the iterate.
    """

    beta: float = SOLVER.momentum
    rho: float = SOLVER.noise_scale
    zeta: float = 1.0
    steps: int = 50
    draws: int = 1
    first: float = 20.0
    last: float = 1.0
    in_y: bool = False
    spacing: float = 0.0
    tail: float = 0.0
    matched: bool = True
    hard: bool = False
    update: Update = tweedie
    seed: int = 0

    @property
    def falling(self) -> int:
        """Levels until the last is reached."""
        return self.steps - min(self.steps, max(1, round(self.steps * self.tail))) + 1

    def levels(self, view: View, k: int) -> Tensor:
        """Those of step k, one per lane, to broadcast with z."""
        u = k / (self.falling - 1) if k < self.falling - 1 else 1.0
        last = self.last * view.sigma_y / (1 if self.in_y else view.norm)
        first, p = torch.full_like(last, self.first), self.spacing
        s = first ** (1 - u) * last**u
        if p:
            s = (first ** (1 / p)).lerp(last ** (1 / p), u) ** p
        return per_lane(s, view.y)


def look(c: Setting, view: View, state: State, s: Tensor, rng: Rng) -> Tensor:
    """The input of the network, in spectral coordinates."""
    n = view.operator.vt(rng.randn_like(view.operator.v(view.y)))
    part = view.matched(s).to(s) if c.hard else view.weight(s)
    known = c.rho * (s**2 - (part * view.sigma) ** 2).clamp(min=0).sqrt() * n
    if state.eps is not None and c.zeta < 1:
        n = (1 - c.zeta) ** 0.5 * state.eps + c.zeta**0.5 * n
    w = state.z + c.beta * (state.z - state.previous)
    if state.dual is not None:
        w = w + state.dual
    return part * view.y + (1 - part) * w + known if c.matched else w + c.rho * s * n


@torch.no_grad()
def run(c: Setting, problem: Problem, prior: Prior, copy: int = 0) -> tuple[Tensor, Tensor]:
    """The estimate, and the last iterate."""
    view = View.of(problem)
    v, vt = view.operator.v, view.operator.vt
    ids = tuple(range(len(problem)))
    keys = Keys(c.seed, ids, (copy,) * len(ids))
    z = vt(problem.initial_estimate())
    state, total, count = State(z, z), torch.zeros_like(z), 0
    for k in range(c.steps):
        s, rng = c.levels(view, k), keys.at(k)
        shown = [look(c, view, state, s, rng) for _ in range(c.draws)]
        answers = [vt(prior(v(z_in), s.flatten())) for z_in in shown]
        z_in, d = sum(shown) / c.draws, sum(answers) / c.draws
        after = c.update(view, state, Seen(z_in, d, s, c.rho, k / c.steps))
        state = replace(after, previous=state.z, eps=(z_in - d) / s)
        if k >= c.falling - 1:
            total, count = total + state.z, count + 1
    return v(total / count), v(state.z)
