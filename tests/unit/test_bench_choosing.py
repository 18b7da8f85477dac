"""`--only`: which part of a spec or of results a text names."""

from __future__ import annotations

import pytest

from reddiff.bench.choosing import chosen
from reddiff.errors import InvalidArgument

SOLVERS = [
    "red-diff",
    "default 20",
    "lr lr=0.1",
    "lr lr=0.5",
    "lr",
    "lrs lrs=1",
    "order order=random",
]
UNKNOWN = ["solver", "solver=l", "solver=red", "solver=default", "slver=red-diff", "noise=x"]
KNOWN = {"task": ["sr4", "blur"], "noise": ["0.05", "0"], "solver": SOLVERS}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("task=sr4,task=blur", {"task": {"sr4", "blur"}}),
        ("noise=0.050,noise=0.0", {"noise": {"0.05", "0"}}),
        ("solver=order", {"solver": {"order order=random"}}),
        ("solver=lr lr=0.5", {"solver": {"lr lr=0.5"}}),
        ("solver=lr,task=sr4", {"solver": {"lr"}, "task": {"sr4"}}),  # that name itself exists
    ],
)
def test_values_by_key(text: str, wanted: dict[str, set[str]]) -> None:
    assert chosen(text, KNOWN, "the spec") == wanted


def test_a_grid_is_all_of_its_combinations() -> None:
    known = {"solver": [s for s in SOLVERS if s != "lr"]}
    assert chosen("solver=lr", known, "the spec") == {"solver": {"lr lr=0.1", "lr lr=0.5"}}


@pytest.mark.parametrize("text", UNKNOWN)
def test_an_unknown_part_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="only"):
        chosen(text, KNOWN, "the spec")
