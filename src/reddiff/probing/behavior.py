"""Checks of a network apart from denoising: values, gradients, modes, use of the noise level."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from reddiff.errors import ReddiffError
from reddiff.lanes import dot
from reddiff.priors.network_prior import HALF
from reddiff.probing.measuring import Trial
from reddiff.probing.paths import Shifted
from reddiff.probing.remembered import Remembered
from reddiff.probing.report import Finding
from reddiff.probing.variants import Variant
from reddiff.random import drawn

CHANGE = 1e-3  # smallest relative change of an output that is reported
SLOPE = 0.2  # accepted relative error of a gradient, compared with finite differences
SHARE = 0.3  # smallest fraction of an output's variance that is linear in image and noise
APART = 16.0  # factor between levels that must give different outputs


@contextmanager
def evaluation_mode(net: Remembered) -> Iterator[None]:
    """Context with evaluation mode, which restores the mode of every module afterwards."""
    training = [m for m in net.modules() if m.training and m is not net]
    if training:
        net.rows = {}
    net.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@torch.no_grad()
def modes(given: Variant, trial: Trial) -> list[Finding]:
    """Findings about estimates that are random or depend on other lanes."""
    prior, x, s = given.prior, trial.noisy(-1)[:2], float(trial.levels[-1])
    first, again, alone = _fresh(given, x, s), _fresh(given, x, s), _fresh(given, x[:1], s)
    if not bool(first.isfinite().all()):
        return []
    size = float((x - first).norm()) or 1.0
    random = float((first - again).norm()) / size
    batch = float((first[:1] - alone).norm()) / (float((x[:1] - alone).norm()) or 1.0)
    kinds = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase)
    training = any(m.training and isinstance(m, kinds) for m in prior.modules())
    numbers = {"between evaluations": random, "alone or in a batch": batch}
    if random <= CHANGE and batch <= 10 * CHANGE:
        return []
    if training:
        sentence = (
            "the network is in training mode: two evaluations of the same x differ by "
            f"{max(random, batch):.1%}. Call net.eval()."
        )
        return [Finding("train-mode", sentence, numbers)]
    if random > CHANGE:
        sentence = f"two evaluations of the same x differ by {random:.1%}."
        return [Finding("random", sentence, numbers)]
    sentence = f"the estimate of an x depends on the others in its batch, by {batch:.1%}."
    return [Finding("batch", sentence, numbers)]


@torch.no_grad()
def _fresh(given: Variant, x: Tensor, s: float) -> Tensor:
    with given.net.anew():
        estimate: Tensor = given.prior(x, s)
    return estimate


@torch.no_grad()
def finite(given: Variant, trial: Trial) -> list[Finding]:
    """Findings about estimates that are not finite, at all levels and the ends of the range."""
    prior, bad, half = given.prior, [], False
    noisy = [(s, trial.noisy(i)[:1]) for i, s in enumerate(trial.levels.tolist())]
    ends = max(prior.sigma_min, 1e-3), min(prior.sigma_max, 80.0)
    noisy += [(s, trial.images[:1] + s * trial.noise[0][:1]) for s in ends]
    for s, x in sorted(noisy, key=lambda pair: pair[0]):
        if not bool(prior(x, s).isfinite().all()):
            bad.append(s)
        out = given.net.out
        half = half or (isinstance(out, Tensor) and out.dtype in HALF)
    if not bad:
        return []
    where = f"values are not finite at levels {bad[0]:.3g} to {bad[-1]:.3g}"
    numbers = {"first level": bad[0], "last level": bad[-1]}
    if half or prior._held() in HALF:
        kind = "bfloat16 has the range of float32" if _is_float16(given) else "use float32"
        sentence = f"{where}: the network computes in half precision and overflows ({kind})."
        return [Finding("half-precision", sentence, numbers)]
    return [Finding("finite", f"{where}.", numbers)]


def _is_float16(given: Variant) -> bool:
    out = given.net.out
    return isinstance(out, Tensor) and out.dtype == torch.float16


def gradient(given: Variant, trial: Trial) -> list[Finding]:
    """Findings about a gradient that is missing or disagrees with finite differences."""
    prior = given.prior
    i = len(trial.levels) // 2
    x, s = trial.noisy(i)[:1], float(trial.levels[i])
    step = 0.03 * s * drawn(x)
    none = (
        "the network has no gradient with respect to its input (it runs under no_grad, or detaches "
        "it): solvers that need one would use a wrong one. Remove torch.no_grad from its forward."
    )
    try:
        _, pullback = prior.vjp(x, s)
        if isinstance(given.net.out, Tensor) and not given.net.out.requires_grad:
            return [Finding("gradient", none)]
        with torch.no_grad():
            change = prior(x + step, s) - prior(x - step, s)
        slope = pullback(change)
    except (ReddiffError, RuntimeError):
        return [Finding("gradient", none)]
    out = given.net.out
    half = prior._held() in HALF or (isinstance(out, Tensor) and out.dtype in HALF)
    if half or not bool(change.isfinite().all()):
        return []
    by_gradient, by_change = float(2 * dot(slope, step)), float(dot(change, change))
    off = abs(by_gradient / by_change - 1) if by_change > 0 else 0.0
    if off <= SLOPE:
        return []
    sentence = (
        f"the gradient is off by {off:.0%} from differences of the estimate: part of the network "
        "is detached from its input."
    )
    return [Finding("gradient", sentence, {"relative error": off})]


@torch.no_grad()
def ignores_level(given: Variant, trial: Trial) -> bool:
    """Whether the output of the network does not depend on the noise level."""
    for i in (0, len(trial.levels) - 1):
        x, s = trial.noisy(i)[:1], float(trial.levels[i])
        outs = []
        for factor in (1 / APART, 1.0, APART):
            path = Shifted(given.path, factor)
            variant = Variant(given.net, given.like, given.prediction, path, given.units)
            outs.append(variant.prior(x, s))
        apart = max(float((o - outs[1]).norm()) for o in outs)
        if not apart <= CHANGE * float((x - outs[1]).norm()):
            return False
    return True


def variance_alone(given: Variant, trial: Trial) -> list[Finding]:
    """Findings about an output that looks like a learned variance instead of an estimate."""
    share = _share(given, trial)
    if share >= SHARE:
        return []
    sentence = (
        f"only {share:.0%} of the output's variance comes from the image and its noise: it looks "
        "like a learned variance. Take the first half of the network's output."
    )
    return [Finding("learned-sigma", sentence, {"share": share})]


@torch.no_grad()
def _share(given: Variant, trial: Trial) -> float:
    """The largest fraction, over levels, of the output that is linear in image and noise.

    It is 1 for eps, x_0, v or a velocity at some level, and far less for a learned variance.
    """
    best, prior, shape = 0.0, given.prior, trial.images.shape
    for i, s in enumerate(trial.levels.tolist()):
        if not bool(prior(trial.noisy(i), s).isfinite().all()):
            return 1.0
        out = given.net.out
        if not isinstance(out, Tensor) or out.shape[2:] != shape[2:]:
            return 1.0
        value = out.narrow(1, 0, shape[1]).double().flatten(1)
        value = value - value.mean(1, keepdim=True)
        parts = [trial.images.double().flatten(1), trial.noise[i].double().flatten(1)]
        basis = torch.stack([p - p.mean(1, keepdim=True) for p in parts], 2)
        fit = basis @ torch.linalg.lstsq(basis, value[..., None]).solution
        total = float(value.square().sum())
        left = float((value - fit[..., 0]).square().sum())
        best = max(best, 1 - left / total if total > 1e-12 else 0.0)
    return best
