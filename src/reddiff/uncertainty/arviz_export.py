"""Export of draws and chains to ArviZ."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from reddiff.errors import Unsupported
from reddiff.problem import Problem
from reddiff.results import Reconstruction


def to_arviz(result: Reconstruction, problem: Problem | None = None) -> Any:
    """Convert a result to a DataTree for ArviZ; needs the extra `reddiff[arviz]`.

    The group `posterior` has `x` with the dimensions chain (1), draw, lane (the ids) and those of
    x. Draws that diverged in all lanes are left out; those that diverged in some lanes are NaN
    there. The group `history` has the values recorded by hooks, with a chain per run and a draw per
    step. The group `observed_data` has `y`.

    Arguments:
        result: The result of `solve(..., runs=n)` or of `sample_posterior`.
        problem: The problem, whose y is added if given.

    Raises:
        Unsupported: If ArviZ is not installed.
    """
    try:
        base = import_module("arviz_base")
    except ImportError as error:
        raise Unsupported('to_arviz: expected ArviZ, pip install "reddiff[arviz]"') from error
    usable = result.usable.cpu()
    any_used = usable.any(0)
    samples = result.samples.cpu()[:, any_used]
    wide = usable[:, any_used].view(*samples.shape[:2], *[1] * (samples.ndim - 2))
    x = torch.where(wide, samples, torch.nan).transpose(0, 1)
    groups: dict[str, dict[str, Any]] = {"posterior": {"x": _array(x[None])}}
    dims = {"x": ["lane", *_axes("x", samples.ndim - 2)]}
    if result.history:
        recorded = {name: _array(v.permute(2, 0, 1)) for name, v in result.history.items()}
        groups["history"] = recorded
        dims |= {name: ["lane"] for name in recorded}
    if problem is not None:
        groups["observed_data"] = {"y": _array(problem.y)}
        dims["y"] = ["lane", *_axes("y", problem.y.ndim - 1)]
    with warnings.catch_warnings():  # there may be more runs than steps
        warnings.filterwarnings("ignore", "Found chain dimension to be longer than draw")
        return base.from_dict(groups, dims=dims, coords={"lane": list(result.ids)})


def _array(values: Tensor) -> Any:
    return values.detach().cpu().numpy()


def _axes(name: str, count: int) -> list[str]:
    return [f"{name}_{i}" for i in range(count)]
