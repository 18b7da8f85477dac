"""Warnings about a run, based on how well its result fits y and the noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from reddiff.results import Finding
from reddiff.run.goodness_of_fit import OUTLYING, Fit

# A residual ratio fluctuates by 1 / sqrt(2 M); 4 standard deviations occur in 1 of 30 000 lanes.
FLUCTUATIONS = 4.0
# Tolerance beyond these fluctuations, for an imperfect prior or a clipped image. On photos at the
# correct noise level, the ratio of the default solver is below 1.02 (M from 1e3 to 5e4).
MISFIT = 0.15
# Residual ratios below this fraction of `least_ratio` are reported as overfitting.
FOLLOWED = 0.75
# With fewer pairs of neighbors, the estimate of the power of y is too uncertain.
FEWEST_PAIRS = 100
# Noise and residuals below this fraction of the rms of y (40 dB) are ignored: they are often set by
# rounding or by a solver's own tolerance.
NEGLIGIBLE = 0.01
# A run counts as converged if its last step changed x, relative to the norm of x, by less than
# MOVING, or by less than MOVING_NOISE times the noise of y, relative to the norm of y.
MOVING_NOISE = 0.5
MOVING = 0.01
# Up to this fraction of y, entries with residuals above OUTLYING are reported as outliers; above
# it, the noise level is reported as too low.
OUTLIERS = 0.05
_TINY = 1e-300


def least_ratio(smooth: float, rough: float) -> float:
    r"""Lower bound on the expected residual ratio of the posterior mean of a Gaussian prior.

    Let :math:`C = A \Sigma A^T / \sigma_y^2 + I` be the covariance of :math:`y / \sigma_y`. The
    normalized residual of the posterior mean is :math:`C^{-1} y / \sigma_y`, and the mean of
    ratio^2 is :math:`\mathrm{tr}\, C^{-1} / M`. In every orthonormal basis
    :math:`(C^{-1})_{ii} \ge 1 / C_{ii}`; the basis used here consists of sums and differences of
    neighboring entries. In images the sums contain most of the signal, the differences the noise.

    Arguments:
        smooth: The mean square of sums / sqrt(2), in units of the noise variance: about 1 or more.
        rough: The mean square of differences / sqrt(2), in the same units.
    """
    return math.sqrt((1 / max(smooth, 1.0) + 1 / max(rough, 1.0)) / 2)


def warn(
    numbers: Mapping[str, float], change: float, said: Sequence[str] = ()
) -> list[tuple[str, tuple[float, ...]]]:
    """Warnings about a finished run: texts, and the noise levels to insert, in the units of y.

    Arguments:
        numbers: The fields of `Fit`, by name.
        change: The relative change of x in the last step; 0 if a stopping rule ended the run.
        said: The warnings of the solver.
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
            "from A(x), and the others fit: exclude them with a mask if they are outliers"
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
        fit: The fit of every run; the runs of a lane are consecutive.
        change: As for `warn`, per run.
        ended: Whether each run completed or converged.
        said: As for `warn`, per run.
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
    """The accepted deviation of a residual ratio over `count` entries from 1."""
    return MISFIT + FLUCTUATIONS / math.sqrt(2 * max(count, 1.0))
