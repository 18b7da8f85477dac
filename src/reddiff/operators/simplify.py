"""Replaces linear operators that turn out to be diagonal by their closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from reddiff.lanes import norm
from reddiff.operators.base import Operator
from reddiff.operators.checks.measures import exact
from reddiff.operators.composition import Compose
from reddiff.operators.diagonal import Diagonal
from reddiff.operators.linear import ClosedForm, LinearOperator
from reddiff.operators.mask import Identity, Selection
from reddiff.random import drawn


def simplified(operator: Operator, y: Tensor) -> Operator:
    """An equivalent operator with a closed form if one is found, else the operator itself.

    With w = A(1), a linear A with A(x) = w x entrywise for a random x is diagonal with probability
    one. It is replaced by an `Identity` or by a `Diagonal`, which treats entries of y with w = 0 as
    not measured. Identities are dropped from compositions.

    An operator with parameters per lane is not changed: the result of one lane must not depend on
    whether the other lanes have the same form.

    Arguments:
        operator: A.
        y: A measurement `(b, *m)`, which gives shape, dtype and device.
    """
    if isinstance(operator, ClosedForm) or not isinstance(operator, LinearOperator):
        return operator
    if operator.lanes is not None:
        return operator
    y = y[:1]
    shape = operator.x_shape(tuple(y.shape[1:]))
    if shape == tuple(y.shape[1:]):
        weights = _weights(operator, y)
        if weights is not None:
            return weights
    if isinstance(operator, Compose):
        return _composed(operator, y)
    return operator


def _composed(operator: Compose, y: Tensor) -> Operator:
    between = y.new_zeros(1, *operator.outer.x_shape(tuple(y.shape[1:])))
    outer, inner = _part(operator.outer, y), _part(operator.inner, between)
    if isinstance(outer, Identity):
        return inner
    if isinstance(inner, Identity):
        return outer
    if outer is operator.outer and inner is operator.inner:
        return operator
    return outer @ inner


def _part(operator: Operator, y: Tensor) -> Operator:
    """`simplified` for a part of a composition, which also finds masks that are identities."""
    if isinstance(operator, Selection | Diagonal) and bool((operator.spectrum(y) == 1).all()):
        found = _weights(operator, y)
        return operator if found is None else found
    return simplified(operator, y)


@torch.no_grad()
def _weights(operator: LinearOperator, y: Tensor) -> Operator | None:
    """The `Identity` or `Diagonal` equal to A, or None if A is not diagonal."""
    w = operator(torch.ones_like(y))
    if w.shape != y.shape:
        return None
    x = drawn(y)
    gap, size = norm(operator(x) - w * x), norm(w * x)
    if not bool((size > 0) & (gap <= exact(y.dtype) * size)):
        return None
    return Identity() if bool((w == 1).all()) else Diagonal(w[0])
