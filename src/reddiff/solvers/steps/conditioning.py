"""The mean of a Gaussian x given y, by conjugate gradients over y."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.linalg import Map, cg
from reddiff.operators.base import Linearisation
from reddiff.problem import Problem


def conditioned(
    problem: Problem,
    x_0: Float[Tensor, "b *n"],
    near: Linearisation,
    covariance: Map,
    var_y: Tensor,
    *,
    iterations: int,
    tol: float = 0.0,
) -> Float[Tensor, "b *n"]:
    """x_0 + V A^T (var_y + A V A^T)^-1 (y - A x_0): x of mean x_0 and covariance V, given y.

    Arguments:
        problem: Of Gaussian noise.
        x_0: The mean of x before y.
        near: A at x_0.
        covariance: v -> V v.
        var_y: The variance of the noise, broadcastable with y.
        iterations: The most conjugate gradient steps.
        tol: Their tolerance.
    """

    def back(w: Tensor) -> Tensor:
        return covariance(near.pull(w))

    def matvec(w: Tensor) -> Tensor:
        return torch.where(problem.measured, var_y * w + near.push(back(w)), 0)

    r = torch.where(problem.measured, problem.y - near.a, 0)
    return x_0 + back(cg(matvec, r, tol=tol, iterations=iterations))
