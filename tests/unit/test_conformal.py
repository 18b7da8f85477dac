from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from scipy.ndimage import gaussian_filter

from reddiff import InvalidArgument
from reddiff.images.calibration_fit import _factors
from reddiff.images.places import STRATA, strata
from reddiff.uncertainty.conformal import (
    factor_for_cases,
    factor_in_expectation,
    least_cases,
    p_value,
)

pytestmark = pytest.mark.usefixtures("untyped")

F64 = torch.float64


def cases(n: int, generator: torch.Generator) -> list[torch.Tensor]:
    """Scores of n pictures of 30 to 90 pixels, some of which are harder than others."""
    scale = torch.rand(n, generator=generator, dtype=F64).exp()
    sizes = torch.randint(30, 90, (n,), generator=generator).tolist()
    noise = [torch.randn(size, generator=generator, dtype=F64) for size in sizes]
    return [(s * z).abs() for s, z in zip(scale, noise, strict=True)]


@pytest.mark.parametrize("n", [9, 25])
def test_the_share_outside_is_at_most_what_is_promised(n):
    generator = torch.Generator().manual_seed(1)
    outside = []
    for _ in range(1500):
        *known, new = cases(n + 1, generator)
        factor = factor_in_expectation(known, 0.9)
        outside.append(float((new > factor).double().mean()))
    mean = torch.tensor(outside).mean()
    # conformal risk control: between 1 - level - 2 / (n + 1) and 1 - level
    assert float(mean) <= 0.1 + 0.008
    assert float(mean) >= 0.1 - 2 / (n + 1) - 0.008


def test_the_factor_is_the_least_that_the_bound_allows():
    known = cases(12, torch.Generator().manual_seed(2))
    factor = factor_in_expectation(known, 0.9)

    def risk(value: float) -> float:
        return sum(float((s > value).double().mean()) for s in known) / 12

    assert 12 / 13 * risk(factor) + 1 / 13 <= 0.1 + 1e-12
    assert 12 / 13 * risk(factor * (1 - 1e-6)) + 1 / 13 > 0.1


def test_a_new_case_is_inside_as_often_as_is_promised():
    scores = torch.randn(4000, 20, generator=torch.Generator().manual_seed(0), dtype=F64).exp()
    inside = [float(row[-1]) <= factor_for_cases(row[:-1], 0.9) for row in scores]
    assert sum(inside) / 4000 == pytest.approx(18 / 20, abs=0.025)  # exact for continuous scores


def test_pixels_of_all_strata_together_hold_what_is_promised():
    """Pictures of one kind alone are harder there than those with a little of it."""
    generator = torch.Generator().manual_seed(3)

    def case() -> SimpleNamespace:
        sizes = (95, 0, 5) if torch.rand((), generator=generator) < 0.5 else (5, 0, 95)
        hard = [3.0 if size == 95 else 1.0 for size in sizes]
        noise = [torch.randn(size, generator=generator).abs() for size in sizes]
        return SimpleNamespace(scores=tuple(h * z for h, z in zip(hard, noise, strict=True)))

    inside = []
    for _ in range(150):
        *known, new = [case() for _ in range(21)]
        pairs = zip(new.scores, _factors(known, 0.9).values(), strict=True)
        inside.append(float(torch.cat([s <= f for s, f in pairs]).double().mean()))
    assert sum(inside) / 150 > 0.9  # the strata alone: 0.85


def test_too_few_cases_are_refused():
    assert [least_cases(level) for level in (0.5, 0.8, 0.9, 0.95)] == [1, 4, 9, 19]
    with pytest.raises(InvalidArgument, match="images: expected at least 9"):
        factor_in_expectation([torch.ones(3)] * 8, 0.9)
    with pytest.raises(InvalidArgument, match="images: expected at least 19"):
        factor_for_cases(torch.ones(18), 0.95)


def test_p_values_of_cases_like_the_others_are_uniform():
    values = torch.randn(3000, 20, generator=torch.Generator().manual_seed(0), dtype=F64)
    found = torch.tensor([p_value(row[1:], float(row[0])) for row in values])
    assert float((found <= 0.1).double().mean()) == pytest.approx(0.1, abs=0.03)
    assert p_value(torch.arange(19.0), 100.0) == pytest.approx(1 / 20)


def test_flat_places_edges_and_texture_are_told_apart():
    x = torch.full((3, 60, 90), 0.5)
    x[:, :, 45:] = 0.9  # an edge, and flat places beside it
    noise = torch.randn(60, 30, generator=torch.Generator().manual_seed(0))
    x[:, :, 60:] += 0.3 * torch.from_numpy(gaussian_filter(noise.numpy(), 1))
    kinds = strata(x)
    assert kinds.shape == (60, 90)
    assert (kinds[:, :40] == STRATA.index("flat")).all()
    assert (kinds[:, 44:46] == STRATA.index("edge")).all()
    assert (kinds[:, 64:] == STRATA.index("texture")).double().mean() > 0.6
    assert torch.equal(strata(x.flip(1)), kinds.flip(0))
