"""Distances between two sets of features."""

from __future__ import annotations

import torch
from jaxtyping import Float, Real
from torch import Tensor

from reddiff.errors import require

DEGREE = 3


def frechet_distance(u: Float[Tensor, "n d"], v: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
    r"""The Frechet distance of normal laws with the means and covariances of two sets of features.

    .. math:: \lVert m_u - m_v \rVert^2
        + \mathrm{tr}\bigl( C_u + C_v - 2 (C_u C_v)^{1/2} \bigr)

    The value depends on the network that computes the features, and on the number of pictures: with
    fewer pictures than features, the covariances have low rank and the distance is too large. Only
    compare values for the same network and the same number of pictures.

    The trace of the root is the nuclear norm of :math:`U V^\top / \sqrt{(n - 1)(m - 1)}`, with the
    centered features as rows, so no root of a d x d matrix is taken.

    References:
        | The Frechet distance between multivariate normal distributions (Dowson & Landau, 1982),
        | https://doi.org/10.1016/0047-259X(82)90077-X
        | GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium
        | (Heusel et al., 2017), https://arxiv.org/abs/1706.08500

    Arguments:
        u: Features, one picture a row; at least two.
        v: Those of the other set.

    Raises:
        InvalidArgument: If the numbers of features differ, or a set has fewer than two rows.
    """
    _check(u, v)
    means, roots = [], []
    for features in (u.double(), v.double()):
        mean = features.mean(0)
        rows = (features - mean) / (len(features) - 1) ** 0.5
        if len(rows) > rows.shape[1]:
            rows = torch.linalg.qr(rows, mode="r").R  # the same covariance in d rows
        means.append(mean)
        roots.append(rows)
    a, b = roots
    cross = torch.linalg.matrix_norm(a @ b.mT, ord="nuc")
    distance = (means[0] - means[1]).square().sum() + a.square().sum() + b.square().sum()
    return (distance - 2 * cross).clamp(min=0)


def kernel_distance(
    u: Float[Tensor, "n d"], v: Float[Tensor, "m d"], *, paired: bool = False
) -> Float[Tensor, ""]:
    r"""The squared maximum mean discrepancy of two sets of features, unbiased.

    .. math:: \mathrm{mean}_{i \ne j} k(u_i, u_j) + \mathrm{mean}_{i \ne j} k(v_i, v_j)
        - 2 \, \mathrm{mean}_{i j} k(u_i, v_j), \qquad k(a, b) = (a^\top b / d + 1)^3

    If both sets have the same distribution, it may be negative by chance. Unlike for the Frechet
    distance, its expectation does not depend on the numbers of pictures.

    References:
        | A Kernel Two-Sample Test (Gretton et al., 2012), Lemma 6,
        | https://jmlr.org/papers/v13/gretton12a.html
        | Demystifying MMD GANs (Binkowski et al., 2018), https://arxiv.org/abs/1801.01401

    Arguments:
        u: Features, one picture a row; at least two.
        v: Those of the other set.
        paired: Whether row i of both belongs to one picture, such as a truth and its restoration.
            These are not independent, so the last mean is then also over i != j; including i = j
            would make the distance too small.

    Raises:
        InvalidArgument: If the numbers of features differ, a set has fewer than two rows, or the
            sets are paired and of different sizes.
    """
    _check(u, v)
    kernel = paired_kernel(u, v) if paired else None
    if kernel is not None:
        return weighted_mean(kernel, torch.ones_like(kernel[0]))
    u, v = u.double(), v.double()
    n, m = len(u), len(v)
    within = [(_kernel(a, a).sum() - _own(a).sum()) / (k * (k - 1)) for a, k in ((u, n), (v, m))]
    return within[0] + within[1] - 2 * _kernel(u, v).mean()


def paired_kernel(u: Float[Tensor, "n d"], v: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """k(u_i, u_j) + k(v_i, v_j) - k(u_i, v_j) - k(v_i, u_j) for every two pictures.

    Its mean over i != j is the kernel distance of paired sets.

    Raises:
        InvalidArgument: If the sizes differ, or a set has fewer than two rows.
    """
    _check(u, v)
    require(len(u) == len(v), "v", expected=f"{len(u)} rows, as u", got=len(v))
    u, v = u.double(), v.double()
    cross = _kernel(u, v)
    return _kernel(u, u) + _kernel(v, v) - cross - cross.mT


def weighted_mean(
    kernel: Float[Tensor, "n n"], weights: Real[Tensor, "*s n"]
) -> Float[Tensor, "*s"]:
    """The mean of a symmetric kernel over i != j, with weights of the pictures.

    If the weights are the numbers of times that a bootstrap resample contains each picture, this is
    the distance of the resample without pairs of copies of one picture.
    """
    w = weights.to(kernel)
    own = w.square() @ kernel.diagonal()
    total = w.sum(-1).square() - w.square().sum(-1)
    return ((w @ kernel * w).sum(-1) - own) / total


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.mT / a.shape[1] + 1) ** DEGREE


def _own(a: Tensor) -> Tensor:
    return (a.square().sum(1) / a.shape[1] + 1) ** DEGREE


def _check(u: Tensor, v: Tensor) -> None:
    same = u.shape[1] == v.shape[1]
    require(same, "v", expected=f"{u.shape[1]} features, as u", got=v.shape[1])
    for name, features in (("u", u), ("v", v)):
        require(len(features) >= 2, name, expected="at least 2 rows", got=len(features))
        finite = bool(features.isfinite().all())
        require(finite, name, expected="finite features", got="NaN or inf")
