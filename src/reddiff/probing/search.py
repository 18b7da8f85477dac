"""`reddiff.probe`: the search for the wiring of a network that denoises known images best."""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from torch import Tensor

from reddiff.errors import require
from reddiff.priors.base import Prior
from reddiff.priors.network_prior import NetworkPrior
from reddiff.probing import behavior
from reddiff.probing.effort import Setup, setup
from reddiff.probing.measuring import HUGE, REFUSED, Trial, gain, tried
from reddiff.probing.pictures import known_images
from reddiff.probing.report import Finding, Probe
from reddiff.probing.variants import Choices, Variant, as_given
from reddiff.probing.verdicts import level, nothing_denoises, range_ends
from reddiff.probing.wording import code, differences

ORDER = (1, 2, 0, 3)  # order of the levels in the search
SECONDS = 50.0
DROPPED = -1.5  # gain in dB at one level below which a variant is not tried at others
MARGIN, CHANNELS_MARGIN = 0.5, 0.04  # required mean gain in dB over levels and images
ERRORS, CHANNELS_ERRORS = 3.0, 4.0  # required gain in standard errors over the images
NOTICED = 0.05  # required gain in dB in the search
WORST = -0.5  # smallest gain in dB at any level
SIMPLER = 0.25  # required gain in dB for each further change
ROUNDS = 3  # largest number of successive changes
PARTS = (("units",), ("flipped",), ("second",), ("prediction", "path"))
STOPPED = "the network is slow, and not all wirings were tried (seconds=... gives more time)."


def probe(prior: Prior, images: Tensor | None = None, *, seconds: float = SECONDS) -> Probe:
    """Diagnose whether a network is used with the parametrization that it was trained with.

    The network denoises known images with the given wiring and with alternatives: other training
    targets, schedules, pixel ranges and channel orders. An alternative is reported only if its
    error, averaged over levels, is lower by at least 0.5 dB and by three standard errors over the
    images (0.04 dB and four for the channel order), and if it is not higher by more than 0.5 dB at
    any level. This needs a few hundred evaluations, or as many as the time allows.

    Arguments:
        prior: A prior from `reddiff.prior`, or any other.
        images: Images similar to the training data, `(n, c, h, w)` in [-1, 1], of which the first
            four are used; by default photos of the package, which may not be conclusive for
            networks trained on other data.
        seconds: The approximate time limit in seconds. For a slow network, the smallest possible
            number of evaluations can take longer.

    Returns:
        The findings, the best wiring as code, and the errors.

    Raises:
        InvalidArgument: If the images do not fit, if the network needs a condition, or if
            `seconds` is not positive.
    """
    require(seconds > 0, "seconds", expected="a positive number", got=seconds)
    given = as_given(prior)
    known = known_images(given.like, images)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        try:
            plan = setup(given, known, seconds)
        except REFUSED as error:
            return _failed(given, known, error)
        return _probed(plan, given)


def _probed(plan: Setup, whole: Variant) -> Probe:
    """Carry out the plan; `whole` is the wiring for uncropped images, for the printed code."""
    given, trial = plan.given, plan.trial
    findings = behavior.finite(given, trial) + behavior.modes(given, trial)
    with behavior.evaluation_mode(given.net):
        alone = behavior.variance_alone(given, trial)
        findings += alone or behavior.gradient(given, trial)
        before = trial.errors(given.prior)
        best, stopped = (given, False) if alone else _search(plan)
        best, after, wirings = _verdicts(given, best, trial, before)
        findings += ([] if alone else level(given, trial, after)) + wirings
        if not findings:
            findings += nothing_denoises(trial, after)
        findings += range_ends(best, trial)
    findings += [Finding("time", STOPPED, wrong=False)] * stopped
    findings.sort(key=lambda f: not f.wrong)
    wiring = code(replace(best, like=whole.like))
    return Probe(tuple(findings), wiring, trial.levels, before.mean(1), after.mean(1))


def _search(plan: Setup) -> tuple[Variant, bool]:
    """Greedy search: a few times, make the best change of one part, or of prediction and path.

    Returns:
        The best variant, and whether the search ran out of time.
    """
    given, best, effort = plan.given, plan.given, plan.effort
    quick = plan.trial.some(effort.quick_levels, effort.quick_images)
    errors, choices = quick.errors(given.prior), Choices(given)
    late = False
    for _ in range(ROUNDS):
        tries = []
        for group in choices.neighbors(best):
            late = time.monotonic() > plan.search_until
            if late:
                break
            tries += _race(group, best, quick, errors)
        found = max(tries, key=lambda t: t[0], default=None)
        if found is None or found[0] <= NOTICED:
            break
        _, best, errors = found
        if late:
            break
    return best, late


def _race(
    group: list[Variant], best: Variant, quick: Trial, errors: Tensor
) -> list[tuple[float, Variant, Tensor]]:
    """The variants of a group with their gains, minus the gain required for their changes.

    Variants with a large loss at one level are not tried at the others.
    """
    running = [(variant, errors.clone()) for variant in group]
    order = [i for i in ORDER if i < len(errors)]
    one = quick.some(len(errors), 1)
    for trial, i in [(one, order[0]), *((quick, i) for i in order)]:
        left = []
        for variant, rows in running:
            try:
                found = trial.error(variant.prior, i)
            except REFUSED:
                continue
            rows[i, : len(found)] = found
            if float(gain(errors[i, : len(found)], found).mean()) > DROPPED:
                left.append((variant, rows))
        running = left
    return [
        (float(gain(errors, rows).mean()) - SIMPLER * (v.changes(best) - 1), v, rows)
        for v, rows in running
    ]


def _verdicts(
    given: Variant, best: Variant, trial: Trial, before: Tensor
) -> tuple[Variant, Tensor, list[Finding]]:
    """The findings from the best variant; changes with too small a gain are reverted."""
    findings: list[Finding] = []
    after = before if best is given else trial.errors(best.prior)
    if best.flipped == given.flipped and best.like.shape[0] == 3:  # has a small effect on photos
        flipped = replace(best, flipped=not given.flipped)
        other = tried(trial, flipped.prior)
        if other is not None and float(gain(after, other).mean()) > 0:
            best, after = flipped, other
    for parts in PARTS:
        back = replace(best, **{part: getattr(given, part) for part in parts})
        if back.changes(best) == 0:
            continue
        without = tried(trial, back.prior)
        without = torch.full_like(after, HUGE) if without is None else without
        decibels = gain(without, after)
        mean, worst = float(decibels.mean()), float(decibels.mean(1).min())
        each = decibels.mean(0)
        spread = float(each.std() / len(each) ** 0.5) if len(each) > 1 else 0.0
        channels = parts == ("flipped",)
        margin = CHANNELS_MARGIN if channels else MARGIN
        least = (CHANNELS_ERRORS if channels else ERRORS) * spread
        if mean < max(margin, least) or worst < WORST:
            best, after = back, without
            continue
        numbers = {"gain in dB": mean, "standard error in dB": spread}
        findings += [
            Finding(name, f"{sentence} That lowers the error by {mean:.1f} dB.", numbers)
            for name, sentence in differences(back, best)
        ]
    return best, after, findings


def _failed(given: Variant, known: Tensor, error: Exception) -> Probe:
    """The result for a prior that cannot be evaluated."""
    text = " ".join(str(error).split())[:200]
    findings = [Finding("fails", f"x of shape {tuple(known.shape)} cannot be denoised: {text}")]
    if known.shape[1] % 2 == 0 and _takes_half(given, known):
        half = known.shape[1] // 2
        sentence = (
            f"the network takes {half} channels and returns {known.shape[1]}: the estimate and a "
            f"learned variance. Declare shape=({half}, ...) as that of x."
        )
        findings.insert(0, Finding("learned-sigma", sentence))
    none = torch.zeros(0)
    return Probe(tuple(findings), "", none, none, none)


@torch.no_grad()
def _takes_half(given: Variant, known: Tensor) -> bool:
    """Whether the network accepts half the channels."""
    half = known.shape[1] // 2
    like = NetworkPrior(given.net, (half, *given.like.shape[1:]), given.prediction, given.path)
    return tried(Trial(known[:, :half], torch.tensor([1.0])), like) is not None
