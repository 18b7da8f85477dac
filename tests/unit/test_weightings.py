from __future__ import annotations

import math

import pytest
import torch

from reddiff import InvalidArgument
from reddiff.solvers.weightings import WEIGHTINGS, weighting

FORMULAS = {
    "linear": lambda s: s,
    "sqrt": math.sqrt,
    "square": lambda s: s * s,
    "log": lambda s: math.log(1 + s),
    "trunc_linear": lambda s: min(s, 1),
    "power2over3": lambda s: s ** (2 / 3),
    "const": lambda s: 1,
}
S = [1e-3, 0.5, 1.0, 7.0, 157.0]


def test_all_seven_of_the_paper_are_there():
    assert WEIGHTINGS.keys() == FORMULAS.keys()


@pytest.mark.parametrize("name", FORMULAS)
def test_formula(name):
    s = torch.tensor(S, dtype=torch.float64).view(-1, 1, 1)
    w = weighting(name)(s)
    assert w.shape == s.shape
    assert w.flatten().tolist() == pytest.approx([FORMULAS[name](v) for v in S], rel=1e-12)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(InvalidArgument) as caught:
        weighting("quadratic")
    message = str(caught.value)
    assert message.startswith("weighting: expected one of linear, sqrt, ")
    assert message.endswith("got quadratic")
    assert all(name in message for name in WEIGHTINGS)
