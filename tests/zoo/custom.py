"""Operators as users write them: functions of tensors and arrays, matrices, other libraries'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.signal
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from reddiff.interop.deepinv.physics import physics_operator
from reddiff.operators import Operator
from reddiff.operators.custom import Dense, from_linear_operator, from_matrix, operator
from zoo.references import Array, Reference, plain

F64 = torch.float64


def _randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def slope(x: Tensor) -> Tensor:
    """Differences along the last axis, and the last entry."""
    return x - pad(x[..., 1:], (0, 1))


def decimate(x: Tensor) -> Tensor:
    """Every second column."""
    return x[..., ::2].contiguous()


def stretch(y: Tensor) -> Tensor:
    """The adjoint, for an even number of columns."""
    return torch.stack([y, torch.zeros_like(y)], -1).flatten(-2)


def drift(x: Tensor, gains: Tensor, shift: Tensor) -> Tensor:
    """Linear, with two tensors per lane."""
    return gains[:, None, None, None] * x + shift[:, None, :, :] * x.roll(1, -1)


def bend(x: Tensor, gains: Tensor) -> Tensor:
    """Nonlinear, with a tensor per lane."""
    return torch.tanh(gains[:, None, None, None] * x[..., 1:]) + x[..., :-1]


def sums(a: Any) -> Any:
    """Running sums, of an array."""
    return np.cumsum(a, -1)


def sums_back(a: Any) -> Any:
    """Their adjoint."""
    return np.cumsum(a[..., ::-1], -1)[..., ::-1]


def warp(a: Any) -> Any:
    """Nonlinear, of an array."""
    return (a + 0.3 * np.sin(a))[..., ::2]


def warp_back(a: Any, w: Any) -> Any:
    """J^T w."""
    out = np.zeros_like(a)
    out[..., ::2] = w
    return (1 + 0.3 * np.cos(a)) * out


def warp_along(a: Any, v: Any) -> Any:
    """J v."""
    return ((1 + 0.3 * np.cos(a)) * v)[..., ::2]


def gaps() -> Any:
    """A sparse matrix (5, 12), an empty row and an empty column in it."""
    matrix = scipy.sparse.random(5, 12, 0.4, random_state=3, format="lil")
    matrix[2, :], matrix[:, 7] = 0, 0
    return matrix.tocoo()


class Strided(nn.Module):
    """A convolution with a stride, as users write them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, stride=2, bias=False, dtype=F64)
        with torch.no_grad():
            self.conv.weight.copy_(_randn(3, 2, 3, 3, seed=51))

    def forward(self, x: Tensor) -> Tensor:
        """The convolution."""
        out: Tensor = self.conv(x)
        return out


class FakeNoise:
    """A noise model that deepinv does not have."""


class FakePhysics(nn.Module):
    """In the place of a physics of deepinv: an orthogonal mixing of rows, then weights."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", mask)
        turn = torch.linalg.qr(_randn(4, 4, seed=52)).Q
        self.register_buffer("turn", turn)
        self.noise_model = FakeNoise()

    def A(self, x: Tensor) -> Tensor:
        """The measurement."""
        return self.weights * (self.turn @ x)

    def A_adjoint(self, y: Tensor) -> Tensor:
        """Its adjoint."""
        return self.turn.mT @ (self.weights * y)

    def A_adjoint_A(self, x: Tensor) -> Tensor:
        """Both."""
        return self.A_adjoint(self.A(x))


class FakeClosed(FakePhysics):
    """With a closed form of `prox_l2`."""

    def prox_l2(self, z: Tensor, y: Tensor, gamma: Tensor | float) -> Tensor:
        """argmin gamma ||A x - y||^2 / 2 + ||x - z||^2 / 2."""
        right = self.turn @ (gamma * self.A_adjoint(y) + z)
        return self.turn.mT @ (right / (gamma * self.weights**2 + 1))


def _mask(b: int) -> Tensor:
    weights = (_randn(b, 1, 4, 5, seed=53) > 0).to(F64) * _randn(b, 1, 4, 5, seed=54)
    weights[:, 0, 0, 0] = 1.0
    return weights


def _physics(kind: type[FakePhysics], b: int, shape: tuple[int, ...]) -> Operator:
    example = _randn(max(b, 2), *shape, seed=55)
    lanes = ("weights",) if b > 1 else ()
    return physics_operator(kind(_mask(b)), example=example, lanes=lanes)


def _lanes(b: int) -> tuple[Tensor, Tensor]:
    return 10.0 ** -torch.arange(b, dtype=F64), _randn(b, 3, 4, seed=56)


def _example(*shape: int) -> Tensor:
    return _randn(2, *shape, seed=57)


def _drift_by_loops(x: Array, _: Operator) -> Array:
    gains, shift = (plain(v) for v in _lanes(len(x)))
    y = np.empty_like(x)
    for b, c, i, j in np.ndindex(x.shape):
        y[b, c, i, j] = gains[b] * x[b, c, i, j] + shift[b, i, j] * x[b, c, i, j - 1]
    return y


def _bend_by_loops(x: Array, _: Operator) -> Array:
    gains = plain(_lanes(len(x))[0])
    parts = [np.tanh(g * one[..., 1:]) + one[..., :-1] for g, one in zip(gains, x, strict=True)]
    return np.stack(parts)


def _strided_by_scipy(x: Array, _: Operator) -> Array:
    kernels = plain(_randn(3, 2, 3, 3, seed=51))
    lanes = [
        [scipy.signal.correlate(one, kernel, "valid")[0, ::2, ::2] for kernel in kernels]
        for one in x
    ]
    return np.array(lanes)


def _physics_by_numpy(x: Array, lanes: int) -> Array:
    turn = plain(FakePhysics(_mask(1)).turn)
    return plain(_mask(lanes)) * np.einsum("ij,bcjw->bciw", turn, x)


CASES: list[tuple[str, tuple[int, ...], Callable[[int], Operator], Reference]] = [
    (
        "own-linear",
        (2, 3, 4),
        lambda b: operator(slope, example=_example(2, 3, 4)),
        lambda x, _: x @ (np.eye(4) - np.eye(4, k=-1)),
    ),
    (
        "own-any-size",
        (2, 3, 4),
        lambda b: operator(slope, linear=True),
        lambda x, _: x @ (np.eye(4) - np.eye(4, k=-1)),
    ),
    ("own-adjoint", (2, 4, 6), lambda b: operator(decimate, stretch), lambda x, _: x[..., ::2]),
    (
        "own-rule",
        (2, 4, 6),
        lambda b: operator(decimate, linear=True, x_shape=lambda s: (s[0], s[1], 2 * s[2])),
        lambda x, _: x[..., ::2],
    ),
    (
        "own-lanes",
        (2, 3, 4),
        lambda b: operator(drift, x_shape=(2, 3, 4), lanes=_lanes(b)),
        _drift_by_loops,
    ),
    (
        "own-curve",
        (1, 3, 5),
        lambda b: operator(bend, x_shape=(1, 3, 5), lanes=_lanes(b)[:1]),
        _bend_by_loops,
    ),
    (
        "own-numpy",
        (1, 3, 4),
        lambda b: operator(sums, sums_back, example=_example(1, 3, 4), numpy=True),
        lambda x, _: x @ np.triu(np.ones((4, 4))),
    ),
    (
        "own-numpy-curve",
        (1, 3, 5),
        lambda b: operator(
            warp, vjp=warp_back, jvp=warp_along, example=_example(1, 3, 5), numpy=True
        ),
        lambda x, _: (x + 0.3 * np.sin(x))[..., ::2],
    ),
    ("own-module", (2, 5, 7), lambda b: operator(Strided(), x_shape=(2, 5, 7)), _strided_by_scipy),
    (
        "own-dense",
        (6,),
        lambda b: from_matrix(_randn(4, 6, seed=58)),
        lambda x, _: x @ plain(_randn(4, 6, seed=58)).T,
    ),
    (
        "own-large",
        (1, 2, 3),
        lambda b: Dense(_randn(4, 6, seed=58), (1, 2, 3)),
        lambda x, _: x.reshape(-1, 6) @ plain(_randn(4, 6, seed=58)).T,
    ),
    (
        "own-sparse",
        (1, 3, 4),
        lambda b: from_matrix(gaps(), x_shape=(1, 3, 4)),
        lambda x, _: x.reshape(-1, 12) @ gaps().toarray().T,
    ),
    (
        "own-sparse-torch",
        (6,),
        lambda b: from_matrix((_randn(4, 6, seed=59) * (_randn(4, 6) > 0)).to_sparse()),
        lambda x, _: x @ plain(_randn(4, 6, seed=59) * (_randn(4, 6) > 0)).T,
    ),
    (
        "own-scipy",
        (1, 3, 4),
        lambda b: from_linear_operator(
            scipy.sparse.linalg.aslinearoperator(gaps()), x_shape=(1, 3, 4)
        ),
        lambda x, _: x.reshape(-1, 12) @ gaps().toarray().T,
    ),
    (
        "own-physics",
        (1, 4, 5),
        lambda b: _physics(FakePhysics, 1, (1, 4, 5)),
        lambda x, _: _physics_by_numpy(x, 1),
    ),
    (
        "own-physics-per-lane",
        (2, 4, 5),
        lambda b: _physics(FakePhysics, b, (2, 4, 5)),
        lambda x, _: _physics_by_numpy(x, len(x)),
    ),
    (
        "own-physics-closed",
        (1, 4, 5),
        lambda b: _physics(FakeClosed, 1, (1, 4, 5)),
        lambda x, _: _physics_by_numpy(x, 1),
    ),
    (
        "own-physics-closed-per-lane",
        (2, 4, 5),
        lambda b: _physics(FakeClosed, b, (2, 4, 5)),
        lambda x, _: _physics_by_numpy(x, len(x)),
    ),
]
