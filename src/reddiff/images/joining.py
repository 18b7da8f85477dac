"""Problems of several pictures as the lanes of one problem, and the run of each lane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from reddiff.images.preparation import Ready
from reddiff.noise import Gaussian
from reddiff.operators import Mask
from reddiff.operators.custom.functions import Own
from reddiff.priors.latent import LatentPrior
from reddiff.problem import Problem
from reddiff.results import Reconstruction
from reddiff.snapshot.description import describe, digest, ours, structure


def form(ready: Ready) -> Any:
    """What pictures must share to be lanes of one batch; None for one that has to be alone."""
    problem, operator, noise = ready.problem, ready.problem.operator, ready.problem.noise
    parts = [*operator.modules()]
    if any(isinstance(m, Own) or not ours(type(m)) for m in parts):
        return None
    if isinstance(ready.prior, LatentPrior):
        return None
    level = noise.sigma == 0 if isinstance(noise, Gaussian) else describe(noise)
    same = [
        tuple(problem.y.shape),
        str(problem.y.dtype),
        problem.x_shape,
        tuple(operator.mask.shape) if isinstance(operator, Mask) else structure(operator),
        [type(noise).__name__, level],
        describe(ready.solver),
    ]
    return digest(same)


def joined(problems: Sequence[Problem]) -> Problem:
    """Problems of one form as one, in which each is a lane."""
    first = problems[0]
    operator, noise = first.operator, first.noise
    masks = [p.operator.mask for p in problems if isinstance(p.operator, Mask)]
    if any(not torch.equal(mask, masks[0]) for mask in masks):
        operator = Mask(torch.stack(masks), per_lane=True)
    levels = [float(p.noise.sigma) for p in problems if isinstance(p.noise, Gaussian)]
    if len(set(levels)) > 1:
        noise = Gaussian(torch.tensor(levels).to(first.y))
    return Problem(torch.cat([p.y for p in problems]), operator, noise)


def one_lane(run: Reconstruction, i: int, lane: int) -> Reconstruction:
    """The run of one lane under its own id, with its share of the time."""
    cost, place = run.cost, run.ids[i]
    counts = {
        name: getattr(cost, name)[i : i + 1]
        for name in ("evaluations", "vjps", "decodings", "decoder_vjps")
    }
    rows = ("x", "samples", "status", "steps", "residual_ratio", "change", "noise_level")
    return replace(
        run,
        ids=(lane,),
        cost=replace(cost, seconds=cost.seconds / len(run.ids), **counts),
        history={name: value[:, i : i + 1] for name, value in run.history.items()},
        findings=tuple(
            f if f.lane is None else replace(f, lane=lane)
            for f in run.findings
            if f.lane in (None, place)
        ),
        snapshot=None,
        **{name: getattr(run, name)[i : i + 1] for name in (*rows, "data_term")},
    )
