"""`reddiff.probe`: which wiring of a network denoises known images best, and what that says."""

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

ORDER = (1, 2, 0, 3)  # of the quick levels
SECONDS = 50.0
DROPPED = -1.5  # dB: a variant that loses so much at one level is not tried at others
MARGIN, CHANNELS_MARGIN = 0.5, 0.04  # dB, mean over levels and images,
ERRORS, CHANNELS_ERRORS = 3.0, 4.0  # and in standard errors over the images
NOTICED = 0.05  # dB in the search
WORST = -0.5  # dB that another wiring may lose at a level
SIMPLER = 0.25  # dB that one more change has to gain
ROUNDS = 3  # of changes
PARTS = (("units",), ("flipped",), ("second",), ("prediction", "path"))
STOPPED = "the network is slow, and not all wirings were tried (seconds=... gives more time)."


def probe(prior: Prior, images: Tensor | None = None, *, seconds: float = SECONDS) -> Probe:
    """Find out whether a network is wired as it was trained, and what is wrong if not.

    The network denoises known images under the wiring it has and under others: other predictions,
    schedules, ranges of pixels, orders of channels. Another wiring is reported only if the error of
    its estimates is lower by 0.5 dB in the mean over levels, beyond three standard errors over the
    images (for the order of channels 0.04 dB and four), and at no level higher by 0.5 dB. This
    takes some hundred evaluations, or as many as there is time for.

    Arguments:
        prior: From `reddiff.prior`, or any other.
        images: A batch of x like those the network was trained on, `(n, c, h, w)` in [-1, 1]; the
            first four are used. Photos of the package by default. For a network of other images
            the photos may not tell.
        seconds: About how long it may take. A network of which fewer evaluations than the least
            that tell anything take longer than that, takes longer.

    Returns:
        The findings, the best wiring as code, and the errors.

    Raises:
        InvalidArgument: If the images do not fit, the network needs a condition, or `seconds` is
            not positive.
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
    """The probe of a wiring within the plan; of `whole` images in the code that is printed."""
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
    """The best variant: the best change of one part, or of prediction and path, a few times.

    Returns:
        The variant, and whether there was no time to try all.
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
    """The variants of a group with their gains, less what its changes have to gain.

    Those that lose much at a level are not tried at the others, the first on one image.
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
    """What the best variant says; a part that gains too little is again as given."""
    findings: list[Finding] = []
    after = before if best is given else trial.errors(best.prior)
    if best.flipped == given.flipped and best.like.shape[0] == 3:  # of photos, hardly seen
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
    """The probe of a prior that cannot be evaluated."""
    text = " ".join(str(error).split())[:200]
    findings = [Finding("fails", f"x of shape {tuple(known.shape)} cannot be denoised: {text}")]
    if known.shape[1] % 2 == 0 and _takes_half(given, known):
        half = known.shape[1] // 2
        sentence = (
            f"the network takes {half} channels and gives {known.shape[1]}: the estimate and a "
            f"learned variance. Declare shape=({half}, ...) as that of x."
        )
        findings.insert(0, Finding("learned-sigma", sentence))
    none = torch.zeros(0)
    return Probe(tuple(findings), "", none, none, none)


@torch.no_grad()
def _takes_half(given: Variant, known: Tensor) -> bool:
    """Whether the network takes half the channels."""
    half = known.shape[1] // 2
    like = NetworkPrior(given.net, (half, *given.like.shape[1:]), given.prediction, given.path)
    return tried(Trial(known[:, :half], torch.tensor([1.0])), like) is not None
