"""Simulation-based calibration: ranks of the truths of simulated problems among the draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reddiff.errors import require
from reddiff.lanes import norm
from reddiff.random import DRAWING, Keys
from reddiff.uncertainty.uniformity import RankTest, rank_test

Quantity = Callable[[Tensor], Tensor]

QUANTITIES: dict[str, Quantity] = {
    "mean": lambda x: x.flatten(1).mean(1),
    "mean square": lambda x: x.flatten(1).square().mean(1),
    "roughness": lambda x: x.flatten(1).diff(dim=1).square().sum(1),
}


@dataclass(frozen=True, eq=False)
class SBC:
    """The rank tests of several quantities.

    Arguments:
        tests: The tests, by the name of the quantity.
    """

    tests: Mapping[str, RankTest]

    @property
    def p(self) -> float:
        """The p-value of all tests together: the smallest times their number (Bonferroni)."""
        return min(1.0, len(self.tests) * min(test.p for test in self.tests.values()))

    def __str__(self) -> str:
        lines = [f"{name}: {test}" for name, test in self.tests.items()]
        return "\n".join([*lines, f"all {len(self.tests)} tests together: p {self.p:.2g}"])


def sbc(
    samples: Float[Tensor, "b S *n"],
    truth: Float[Tensor, "b *n"],
    quantities: Mapping[str, Quantity] | None = None,
    *,
    seed: int = 0,
) -> SBC:
    """Simulation-based calibration (SBC): tests of the ranks of true quantities among the draws.

    Every lane is a simulated problem: the truth is drawn from the prior, y is simulated from it,
    and the draws are from the posterior given y. If the draws are exact, the ranks are uniform.

    Arguments:
        samples: S independent draws for each of b problems, such as `sample_posterior(...).samples`
            (draws of a Markov chain must be thinned).
        truth: The true x.
        quantities: Functions from x `(b, *n)` to a number per lane. By default the mean, the mean
            square, and the sum of squared differences of neighbors. Quantities that depend on y are
            more sensitive: without one, such as `problem.nll`, draws from the prior pass the test.
        seed: Random seed, for ties and for the test.

    Raises:
        InvalidArgument: If the shapes do not fit, or a quantity does not return a number per lane.

    References:
        | Validating Bayesian Inference Algorithms with Simulation-Based Calibration (Talts et al.,
        | 2018), https://arxiv.org/abs/1804.06788
        | Simulation-Based Calibration Checking for Bayesian Computation: The Choice of Test
        | Quantities Shapes Sensitivity (Modrak et al., 2023), https://arxiv.org/abs/2211.02383
    """
    _check(samples, truth)
    made = dict(QUANTITIES if quantities is None else quantities)
    require(len(made) > 0, "quantities", expected="at least one", got="none")
    tests = {}
    for name, f in made.items():
        values = torch.stack([_values(name, f, x) for x in samples.unbind(1)], 1)
        found = rank_statistics(values, _values(name, f, truth), seed=seed)
        tests[name] = rank_test(found, samples.shape[1], seed=seed)
    return SBC(tests)


def tarp(
    samples: Float[Tensor, "b S *n"],
    truth: Float[Tensor, "b *n"],
    *,
    references: Float[Tensor, "b *n"] | None = None,
    seed: int = 0,
) -> RankTest:
    """The TARP test: ranks of the truth's distance to a random point among those of the draws.

    In the result, `ecdf` is the expected coverage at the credibility levels `points`; `p` is exact.

    Arguments:
        samples: As for `sbc`.
        truth: The true x.
        references: A point for each problem, independent of its truth given y. Points that depend
            on y, such as `problem.initial_estimate()`, are more sensitive. By default normal random
            points with the mean and the standard deviation of all x; with these, draws from the
            prior pass the test.
        seed: Random seed, for the points and the test.

    Raises:
        InvalidArgument: If the shapes do not fit.

    References:
        | Sampling-Based Accuracy Testing of Posterior Estimators for General Inference (Lemos et
        | al., 2023), Algorithm 2, https://arxiv.org/abs/2302.03026
    """
    _check(samples, truth)
    if references is None:
        # symmetric in truths and draws, so that the points do not tell which is the truth
        every = torch.cat([truth[:, None], samples], 1).flatten(0, 1)
        noise = Keys(seed, tuple(range(len(truth)))).at(DRAWING).randn_like(truth)
        references = every.mean(0) + every.std(0) * noise
    same = references.shape == truth.shape
    expected = f"shape {tuple(truth.shape)}, as the truths"
    require(same, "references", expected=expected, got=tuple(references.shape))
    away = torch.stack([norm(x - references) for x in samples.unbind(1)], 1)
    found = rank_statistics(away, norm(truth - references), seed=seed)
    return rank_test(found, samples.shape[1], seed=seed)


def rank_statistics(
    samples: Float[Tensor, "b S *n"], truth: Float[Tensor, "b *n"], *, seed: int = 0
) -> Int[Tensor, "b *n"]:
    """The ranks of the truth, per entry: the number of draws below it, from 0 to S.

    Ties are broken at random, so that ranks are uniform also for discrete distributions.

    Arguments:
        samples: The draws.
        truth: The true x.
        seed: Random seed, for ties.

    Raises:
        InvalidArgument: If a value is NaN, which has no rank.
    """
    known = not bool(truth.isnan().any() or samples.isnan().any())
    require(known, "samples and truth", expected="values with a rank", got="nan")
    values = truth.unsqueeze(1)
    equal = (samples == values).sum(1)
    u = Keys(seed, tuple(range(len(truth)))).at(DRAWING).rand_like(truth)
    return (samples < values).sum(1) + (u * (equal + 1)).floor().long()


def pit(
    samples: Float[Tensor, "b S *n"], truth: Float[Tensor, "b *n"], *, seed: int = 0
) -> Float[Tensor, "b *n"]:
    """Probability integral transforms: ranks mapped to [0, 1), uniform for exact draws.

    Arguments:
        samples: The draws.
        truth: The true x.
        seed: Random seed, for the randomization within a rank.
    """
    u = Keys(seed, tuple(range(len(truth)))).at(DRAWING - 1).rand_like(truth)
    return (rank_statistics(samples, truth, seed=seed) + u) / (samples.shape[1] + 1)


def _check(samples: Tensor, truth: Tensor) -> None:
    good = samples.ndim >= 2 and samples.shape[:1] + samples.shape[2:] == truth.shape
    expected = f"draws (b, S, ...) of truths {tuple(truth.shape)}"
    require(good, "samples", expected=expected, got=tuple(samples.shape))
    for name, value in (("samples", samples), ("truth", truth)):
        finite = bool(torch.isfinite(value).all())
        require(finite, name, expected="finite values (leave out lanes that diverged)", got="nan")


def _values(name: str, f: Quantity, x: Tensor) -> Tensor:
    made = f(x)
    good = isinstance(made, Tensor) and made.shape == x.shape[:1]
    got = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
    expected = f"a number for each of {len(x)} lanes"
    require(good, f"quantities[{name!r}]", expected=expected, got=got)
    missing = int(made.isnan().sum())
    require(not missing, f"quantities[{name!r}]", expected=expected, got=f"nan for {missing}")
    return made
