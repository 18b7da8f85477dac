"""How the laws compare results."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from hashlib import sha256
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reddiff import InvalidArgument, Reconstruction


def assert_same(got: Tensor, wanted: Tensor, tol: float = 1e-10) -> None:
    """Equal to `tol` times the largest entry (at least 1), of a finite tensor."""
    assert got.shape == wanted.shape
    assert torch.isfinite(wanted).all()
    size = float(wanted.abs().max().clamp(min=1))
    torch.testing.assert_close(got, wanted, rtol=0, atol=tol * size)


def assert_bits(got: Reconstruction, wanted: Reconstruction) -> None:
    """Two runs that cannot be told apart."""
    assert torch.equal(got.samples, wanted.samples)
    assert torch.equal(got.status, wanted.status)
    assert torch.equal(got.steps, wanted.steps)
    assert got.cost.evaluations == wanted.cost.evaluations
    assert got.ids == wanted.ids
    assert got.history.keys() == wanted.history.keys()
    for name, values in wanted.history.items():
        assert torch.equal(got.history[name].nan_to_num(-1), values.nan_to_num(-1)), name


def fingerprint(value: Any) -> Any:
    """All that an object holds, as plain values: equal if and only if nothing changed.

    Of dataclasses the fields count, not what is cached beside them.
    """
    if isinstance(value, Tensor):
        data = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        grad = fingerprint(value.grad) if value.is_leaf else None
        digest = sha256(data.numpy().tobytes()).hexdigest()
        return value.dtype, value.device, tuple(value.shape), value.requires_grad, grad, digest
    if isinstance(value, nn.Module):
        return type(value), fingerprint(vars(value))
    if is_dataclass(value) and not isinstance(value, type):
        return type(value), {f.name: fingerprint(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, functools.partial):
        return fingerprint([value.func, value.args, value.keywords])
    if isinstance(value, Mapping):
        return {k: fingerprint(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [fingerprint(v) for v in value]
    return value


def versions(*values: Any) -> list[int]:
    """How often each tensor inside was written to."""
    counts = []
    for value in values:
        if isinstance(value, Tensor):
            counts.append(value._version)
        elif isinstance(value, nn.Module):
            counts += versions(*value.parameters(), *value.buffers())
        elif is_dataclass(value):
            counts += versions(*(getattr(value, f.name) for f in fields(value)))
    return counts


def assert_refused(call: Callable[[], object], argument: str, expected: str, got: str) -> None:
    """An InvalidArgument that names the argument, what was expected of it and what came."""
    with pytest.raises(InvalidArgument) as caught:
        call()
    assert caught.value.argument == argument
    before, after = str(caught.value).split(", got ")
    assert expected in before
    assert got in after
