"""Noises: the gradient is that of the likelihood, lanes do not mix, and draws can be explained."""

from __future__ import annotations

import torch
from torch import Tensor

import zoo
from laws.compare import assert_same
from reddiff import Keys

IDS = (5, 2, 9)


def drawn(case: zoo.NoiseCase, device: torch.device) -> tuple[Tensor, Tensor]:
    """A draw of y `(3, m)`, and another mean a."""
    operator = case.operator().to(device)
    x = 0.5 * zoo.randn(2, len(IDS), 6, seed=3).to(device)
    a, other = operator(x[0]), operator(x[1])
    return case.noise.sample(a, Keys(0, IDS).at(0)), other


@zoo.every("case", zoo.NOISES)
def test_the_gradient_is_that_of_the_likelihood(case: zoo.NoiseCase, device: torch.device) -> None:
    """Except within a third of a standard deviation of y, where that of a kink is rounded off."""
    y, a = drawn(case, device)
    leaf = a.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(case.noise.nll_each(y, leaf).sum(), leaf)
    far = (y - a).abs() > case.noise.std(a) / 3
    assert far.any()
    got = case.noise.grad_each(y, a)
    assert_same(torch.where(far, got, 0), torch.where(far, wanted, 0), tol=1e-8)
    curvature = case.noise.curvature(y, a)
    assert torch.isfinite(curvature).all()
    assert (curvature >= 0).all()


@zoo.every("case", zoo.NOISES)
def test_lanes_do_not_mix(case: zoo.NoiseCase, device: torch.device) -> None:
    """Of some lanes, the likelihood and the draws are those of these lanes."""
    y, a = drawn(case, device)
    index = torch.tensor([2, 0], device=device)
    few = case.noise.select(index)
    assert_same(few.nll_each(y[index], a[index]), case.noise.nll_each(y, a)[index])
    assert_same(few.std(a[index]), case.noise.std(a)[index])
    some = few.sample(a[index], Keys(0, (IDS[2], IDS[0])).at(0))
    assert_same(some, case.noise.sample(a, Keys(0, IDS).at(0))[index])


@zoo.every("case", zoo.NOISES)
def test_draws_after_a_sample_do_not_depend_on_other_lanes(
    case: zoo.NoiseCase, device: torch.device
) -> None:
    """Neither those of the sample: a brighter neighbor needs more draws, or other ones."""
    x = 0.5 * zoo.randn(len(IDS), 6, seed=3).to(device)
    loud = x.clone()
    loud[1] += 8
    found = []
    for v in (x, loud):
        rng = Keys(0, IDS).at(0)
        y = case.noise.sample(case.operator().to(device)(v), rng)
        found.append((y, rng.randn_like(y)))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one[[0, 2]], other[[0, 2]])


@zoo.every("case", zoo.NOISES)
def test_draws_are_likelier_at_their_mean(case: zoo.NoiseCase, device: torch.device) -> None:
    """Over many draws, the mean they were drawn with has a larger likelihood than others."""
    a = case.operator().to(device)(0.5 * zoo.randn(len(IDS), 6, seed=3).to(device))
    gaps = []
    for k in range(200):
        y = case.noise.sample(a, Keys(1, IDS).at(k))
        case.noise.check(y)
        far = a + 3 * case.noise.std(a)
        gaps.append(case.noise.nll_each(y, far) - case.noise.nll_each(y, a))
    assert torch.stack(gaps).mean() > 0
