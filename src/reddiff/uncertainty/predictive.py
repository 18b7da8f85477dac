r"""Posterior predictive tests: whether residuals at posterior draws look like the noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import Unsupported, require, require_count
from reddiff.lanes import repeat
from reddiff.noise import Gaussian, UnknownGaussian
from reddiff.problem import Problem
from reddiff.random import DRAWING, Keys
from reddiff.uncertainty.residual_statistics import STATISTICS

AT_ONCE = 1 << 20  # entries per batch of simulated measurements


@dataclass(frozen=True, eq=False)
class ResidualTests:
    """p-values of residual tests, by the name of the test.

    Arguments:
        values: For each test, the p-value of the residual at every tested draw; NaN if y has too
            few entries for the test.
    """

    values: Mapping[str, Float[Tensor, "b D"]]

    @property
    def p(self) -> dict[str, Float[Tensor, " b"]]:
        """The p-value of each test: for several draws, twice the mean, at most 1.

        For one draw it is exact; for several it is valid for any dependence between draws.

        References:
            | Posterior Predictive p-Values (Meng, 1994), Equation 4
            | Combining p-Values via Averaging (Vovk and Wang, 2020), https://arxiv.org/abs/1212.4966
        """
        first = next(iter(self.values.values()))
        factor = 1 if first.shape[1] == 1 else 2
        return {name: (factor * p.mean(1)).clamp(max=1) for name, p in self.values.items()}

    @property
    def overall(self) -> Float[Tensor, " b"]:
        """The p-value of all tests together: the smallest times their number (Bonferroni)."""
        each = torch.stack(list(self.p.values()))
        count = (~torch.isnan(each)).sum(0)
        least = each.nan_to_num(torch.inf).amin(0)
        return torch.where(count > 0, (count * least).clamp(max=1), torch.nan)

    def __str__(self) -> str:
        rows = [*self.p.items(), ("all together", self.overall)]
        return "\n".join(f"{name}: p {', '.join(f'{v:.2g}' for v in p)}" for name, p in rows)


@torch.no_grad()
def residual_tests(
    problem: Problem,
    samples: Float[Tensor, "b S *n"],
    *,
    draws: int = 1,
    replicates: int = 999,
    seed: int = 0,
) -> ResidualTests:
    r"""Test whether y - A(x) looks like the noise, at draws x from the posterior.

    If prior, A and noise are correct, an exact draw and y have the same joint distribution as the
    true x and y. The residual at a draw is then distributed like the noise, however closely the
    posterior follows y. Each statistic is compared with those of `replicates` simulated
    measurements of the same draw:

    - `chi-square`: the sum of squares of the standardized residual.
    - `whiteness`: the sum of its squared autocorrelations, at lags of 1 to 5 entries for 1-D y, and
      of up to 2 pixels for images.
    - `runs`: the number of sign changes between consecutive measured entries.
    - `largest`: the largest absolute value, for outliers.

    `chi-square` and `runs` are two-sided.

    Arguments:
        problem: The measurements, with the A and the noise to test.
        samples: Draws from the posterior. Point estimates such as the posterior mean are not
            suitable, because their residual is correlated and smaller than the noise.
        draws: The number of draws to test, at least 1. With one draw, p-values are exact. With more
            they vary less and are conservative (see `ResidualTests.p`).
        replicates: The number of simulated measurements, at least 19; no p-value is below
            1 / (replicates + 1).
        seed: Random seed.

    Raises:
        InvalidArgument: If the draws do not fit the problem, or are not finite.
        Unsupported: If sigma is 0 or not known.

    References:
        | Bayesian Model Assessment Using Pivotal Quantities (Johnson, 2007)
        | On a Measure of Lack of Fit in Time Series Models (Ljung and Box, 1978)
    """
    require_count("replicates", replicates, 19)
    require_count("draws", draws)
    wanted = (len(problem), *problem.x_shape)
    got = (*samples.shape[:1], *samples.shape[2:])
    require(got == wanted, "samples", expected=f"draws of x {wanted}", got=tuple(samples.shape))
    enough = samples.shape[1] >= draws
    require(enough, "samples", expected=f"at least {draws} draws", got=samples.shape[1])
    finite = bool(torch.isfinite(samples).all())
    require(finite, "samples", expected="finite draws", got="nan or inf")
    noise = problem.noise
    if isinstance(noise, UnknownGaussian) or (isinstance(noise, Gaussian) and noise.noiseless):
        raise Unsupported("residual_tests: expected noise with a known level above 0")
    seen = problem.measured
    found: list[dict[str, Tensor]] = []
    null: dict[str, Tensor] = {}
    ids = tuple(range(len(problem)))
    for index, x in enumerate(samples[:, :draws].unbind(1)):
        a = problem.operator(x)
        if not null or not isinstance(noise, Gaussian):  # for Gaussian noise, independent of x
            null = _null(problem, a, replicates, Keys(seed + index, ids))
        z = problem.standardised(a)
        found.append(
            {
                name: _p_value(statistic(z, seen), null[name], two_sided=both)
                for name, (statistic, both) in STATISTICS.items()
            }
        )
    return ResidualTests({n: torch.stack([p[n] for p in found], 1) for n in STATISTICS})


def _null(problem: Problem, a: Tensor, replicates: int, keys: Keys) -> dict[str, Tensor]:
    """The statistics of simulated measurements of A(x) = a, `(b, replicates)` each."""
    rows: dict[str, list[Tensor]] = {name: [] for name in STATISTICS}
    at_once, lanes = max(1, AT_ONCE // a.numel()), torch.arange(len(a), device=a.device)
    for start in range(0, replicates, at_once):
        count = min(at_once, replicates - start)
        wide, level = problem.select(repeat(lanes, count)), repeat(a, count)
        y = wide.noise.sample(level, keys.repeat(count, start).at(DRAWING))
        z = wide.derived(y=torch.where(wide.measured, y, 0)).standardised(level)
        for name, (statistic, _) in STATISTICS.items():
            rows[name].append(statistic(z, wide.measured).unflatten(0, (-1, count)))
    return {name: torch.cat(values, 1) for name, values in rows.items()}


def _p_value(value: Tensor, null: Float[Tensor, "b R"], *, two_sided: bool) -> Tensor:
    """The p-value from the rank of a value among those of replicates; NaN if it is NaN."""
    every = torch.cat([value[:, None], null], 1)
    if two_sided:
        every = (every - every.median(1, keepdim=True).values).abs()
    p = (every >= every[:, :1]).double().mean(1)
    return torch.where(torch.isnan(value), torch.nan, p)
