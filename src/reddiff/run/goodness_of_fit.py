"""Goodness of fit of x to y, per lane."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.lanes import dot
from reddiff.noise import Gaussian, Noise
from reddiff.problem import Problem

# Entries more than this many standard deviations from A(x) are outliers.
OUTLYING = 8.0


@dataclass(frozen=True, eq=False)
class Fit:
    """Goodness of fit of x to y, per lane.

    Arguments:
        ratio: The rms of (y - A(x)) / std(y | A(x)) over the M measured entries.
        rms: The rms of y - A(x) (of `Noise.residual`), in the units of y.
        noise: The rms of std(y | A(x)), in the units of y.
        size: The rms of y.
        data_term: -log p(y | x) in nats, or ||y - A(x)||^2 / 2 if sigma = 0, which has no density.
        smooth: The mean square of (u + v) / sqrt(2) over pairs (u, v) of neighbors in y / std.
        rough: The mean square of (u - v) / sqrt(2) over these pairs.
        pairs: The number of pairs of measured neighbors; 0 for censored noise.
        count: M.
        missed: The number of entries more than `OUTLYING` standard deviations from A(x).
        others: `ratio` over the other entries.
    """

    ratio: Float[Tensor, " b"]
    rms: Float[Tensor, " b"]
    noise: Float[Tensor, " b"]
    size: Float[Tensor, " b"]
    data_term: Float[Tensor, " b"]
    smooth: Float[Tensor, " b"]
    rough: Float[Tensor, " b"]
    pairs: Float[Tensor, " b"]
    count: Float[Tensor, " b"]
    missed: Float[Tensor, " b"]
    others: Float[Tensor, " b"]

    def rows(self) -> Iterator[dict[str, float]]:
        """The fields as numbers, one dict per lane."""
        columns = {f.name: getattr(self, f.name).tolist() for f in fields(self)}
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(columns, values, strict=True))


def fit(problem: Problem, x: Float[Tensor, "b *n"]) -> Fit:
    """The fit of x to y, from one evaluation of A."""
    a = problem.operator(x)
    measured, count = problem.measured, problem.count.clamp(min=1)
    std = torch.where(measured, problem.noise.std(a), 0)
    r = torch.where(measured, problem.noise.residual(problem.y, a), 0)
    z = problem.standardised(a)
    missed = z.abs() > OUTLYING
    kept = torch.where(missed, 0, z)
    nll = _with_density(problem.noise).nll(problem.y, a, measured)
    exact = (measured & (std == 0)).flatten(1).any(1)
    smooth, rough, pairs = _powers(problem, std)
    return Fit(
        ratio=(dot(z, z) / count).sqrt(),
        rms=(dot(r, r) / count).sqrt(),
        noise=(dot(std, std) / count).sqrt(),
        size=(dot(problem.y, problem.y) / count).sqrt(),
        data_term=torch.where(exact, 0.5 * dot(r, r), nll),
        smooth=smooth,
        rough=rough,
        pairs=pairs,
        count=problem.count,
        missed=missed.flatten(1).sum(1).to(z),
        others=(dot(kept, kept) / (measured & ~missed).flatten(1).sum(1).clamp(min=1)).sqrt(),
    )


def _powers(problem: Problem, std: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`smooth`, `rough` and `pairs` of `Fit`; entries 2 i and 2 i + 1 of y form a pair."""
    z = (problem.y / torch.where(std > 0, std, 1)).flatten(1)
    measured = problem.measured.flatten(1)
    end = z.shape[1] // 2 * 2
    u, v = z[:, 0:end:2], z[:, 1:end:2]
    both = measured[:, 0:end:2] & measured[:, 1:end:2] & (not problem.noise.censored)
    pairs = both.sum(1).to(z)
    smooth, rough = (
        torch.where(both, w.square() / 2, 0).sum(1) / pairs.clamp(min=1) for w in (u + v, u - v)
    )
    exact = (problem.measured & (std == 0)).flatten(1).any(1)
    return torch.where(exact, torch.inf, smooth), torch.where(exact, torch.inf, rough), pairs


def _with_density(noise: Noise) -> Noise:
    """The noise, with sigma = 1 in lanes with sigma = 0, which has no density."""
    if not isinstance(noise, Gaussian) or not noise.noiseless:
        return noise
    sigma = torch.as_tensor(noise.sigma)
    return replace(noise, sigma=torch.where(sigma == 0, 1, sigma))
