"""How well results fit y and its noise, per run, and warnings derived from it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.lanes import dot
from reddiff.noise import Gaussian, Noise
from reddiff.problem import Problem
from reddiff.results import Finding

# A ratio fluctuates by 1 / sqrt(2 M); four of those happen to one lane in 30 000.
FLUCTUATIONS = 4.0
# Beyond them: what a prior that does not quite fit, or a clipped picture, does to the ratio. The
# default solver stays below 1.02 on photos at the right level (M from 1e3 to 5e4).
MISFIT = 0.15
# Residual ratios below this fraction of `least_ratio` are reported as overfitting.
FOLLOWED = 0.75
# Fewer pairs say too little about the power of y.
FEWEST_PAIRS = 100
# Noise and residuals below this fraction of the rms of y (40 dB) are ignored: they are often set by
# rounding or by a solver's own tolerance.
NEGLIGIBLE = 0.01
# A run has converged once a step changes x, relative to its size, by less than this part of the
# noise of y, relative to the size of y, or by less than `MOVING` in any case.
MOVING_NOISE = 0.5
MOVING = 0.01
# Entries so many standard deviations from A(x) are no noise; if they are at most this part of y,
# they are broken rather than the noise level.
OUTLYING = 8.0
OUTLIERS = 0.05
_TINY = 1e-300


@dataclass(frozen=True, eq=False)
class Fit:
    """How well an x is consistent with y, by lane.

    Arguments:
        ratio: The rms of (y - A(x)) / std(y given A(x)) over the M measured entries.
        rms: The rms of y - A(x) (of `Noise.residual`), in the units of y.
        noise: The rms of std(y given A(x)), in the units of y.
        size: The rms of y.
        data_term: -log p(y | x) in nats; ||y - A(x)||^2 / 2 where sigma is 0, which has no density.
        smooth: The mean square of the sums (u + v) / sqrt 2 of neighbours in y / std.
        rough: That of their differences (u - v) / sqrt 2.
        pairs: How many pairs of neighbours were measured; none where y may be a bound.
        count: M.
        missed: How many entries are more than `OUTLYING` standard deviations from A(x).
        others: The ratio of all others.
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
        """The numbers of one lane after the other."""
        columns = {f.name: getattr(self, f.name).tolist() for f in fields(self)}
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(columns, values, strict=True))


def fit(problem: Problem, x: Float[Tensor, "b *n"]) -> Fit:
    """How well x is consistent with y, from one evaluation of A."""
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


def least_ratio(smooth: float, rough: float) -> float:
    r"""The least ratio that the posterior mean of a Gaussian prior can be expected to have.

    With :math:`C = A \Sigma A^T / \sigma_y^2 + I` the covariance of :math:`y / \sigma_y`, its
    residual is :math:`C^{-1} y`, so that ratio^2 is :math:`\mathrm{tr}\, C^{-1} / M` in the mean;
    :math:`(C^{-1})_{ii} \ge 1 / C_{ii}` in every orthonormal basis, and here it is that of the
    sums and differences of neighbours. The signal of a picture is in the sums, so that the
    differences show what noise there is.

    Arguments:
        smooth: The mean square of the sums over sqrt 2, in units of the noise: at least about 1.
        rough: That of the differences.
    """
    return math.sqrt((1 / max(smooth, 1.0) + 1 / max(rough, 1.0)) / 2)


def warn(
    numbers: Mapping[str, float], change: float, said: Sequence[str] = ()
) -> list[tuple[str, tuple[float, ...]]]:
    """What to say of a run that ended: texts, each with its levels in the units of y.

    Arguments:
        numbers: Those of `Fit`, by name.
        change: The relative change of x by the last step; 0 where a rule ended the run.
        said: What the solver says of the run.
    """
    ratio, noise, size, pairs = (numbers[name] for name in ("ratio", "noise", "size", "pairs"))
    smooth, rough = numbers["smooth"], numbers["rough"]
    found: list[tuple[str, tuple[float, ...]]] = [(text, ()) for text in said]
    if change > max(MOVING, MOVING_NOISE * noise / max(size, _TINY)):
        text = f"not converged: the last step changed the estimate by {100 * change:.1f} %"
        found.append((text, ()))
    lowest = math.sqrt(min(smooth, rough))
    seen = pairs >= FEWEST_PAIRS
    over = ratio > 1 + _slack(numbers["count"]) and numbers["rms"] > NEGLIGIBLE * size
    missed, count = numbers.get("missed", 0.0), numbers["count"]
    few = 0 < missed <= OUTLIERS * count and numbers.get("others", ratio) < 1 + _slack(count)
    if over and not found and few:
        text = (
            f"{int(missed)} of {int(count)} entries of y are more than {OUTLYING:g} noise levels "
            "from A(x), and the others fit: if they are broken, leave them out with a mask"
        )
        found.append((text, ()))
    elif over and not found:
        text = "the noise level may be too low: the residual suggests at least {}, but {} was given"
        found.append((text, (numbers["rms"], noise)))
    elif seen and lowest < 1 - _slack(pairs):
        text = "the noise level may be too high: y is consistent with at most {}, but {} was given"
        found.append((text, (lowest * noise, noise)))
    elif seen and noise > NEGLIGIBLE * size and ratio < FOLLOWED * least_ratio(smooth, rough):
        text = f"fits the noise: the residual is only {ratio:.2g} of the noise level"
        found.append((text, ()))
    return found


def findings(
    fit: Fit,
    change: Float[Tensor, " b"],
    ended: Sequence[bool],
    said: Sequence[Sequence[str]],
    ids: Sequence[int],
) -> tuple[Finding, ...]:
    """The warnings of all runs that ended, in the order of the runs.

    Arguments:
        fit: How well the runs explain y: rows, lane by lane, its runs side by side.
        change: As for `warn`.
        ended: Which rows have ended as they should.
        said: As for `warn`, of every row.
        ids: The lanes' ids.
    """
    runs = len(said) // len(ids)
    found = []
    for row, numbers in enumerate(fit.rows()):
        if ended[row]:
            lane, run = ids[row // runs], row % runs if runs > 1 else None
            for text, levels in warn(numbers, float(change[row]), said[row]):
                found.append(Finding(lane, run, text, levels))
    return tuple(found)


def _slack(count: float) -> float:
    """How far from 1 a ratio over so many entries may be."""
    return MISFIT + FLUCTUATIONS / math.sqrt(2 * max(count, 1.0))


def _powers(problem: Problem, std: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`smooth`, `rough` and `pairs` of `Fit`: entries 2 i and 2 i + 1 of y make a pair."""
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
    """The noise, with sigma = 1 in the lanes where sigma = 0 leaves it without a density."""
    if not isinstance(noise, Gaussian) or not noise.noiseless:
        return noise
    sigma = torch.as_tensor(noise.sigma)
    return replace(noise, sigma=torch.where(sigma == 0, 1, sigma))
