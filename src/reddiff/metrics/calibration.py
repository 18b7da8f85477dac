"""Tests of draws against exact moments, against exact draws, and against the truth."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reddiff.errors import require


def moment_errors(
    samples: Float[Tensor, "b S *n"], mean: Float[Tensor, "b *n"], cov: Float[Tensor, "b N N"]
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    r"""Relative errors of the mean and of the covariance of draws, per lane.

    .. math:: \lVert \hat m - m \rVert / \sqrt{\mathrm{tr}\,C}, \qquad
        \lVert \hat C - C \rVert_F / \lVert C \rVert_F

    The expected squared sampling error of S independent normal draws with the estimated covariance
    is subtracted from the squares, which are then clipped at 0. For exact draws the two errors are
    of the order of :math:`S^{-1/2} N^{-1/4}` and :math:`S^{-1/2} N^{1/4}`.

    Arguments:
        samples: S >= 2 draws.
        mean: m.
        cov: C, where N is the number of entries of one x.

    Raises:
        InvalidArgument: If there are fewer than two draws.
    """
    count = samples.shape[1]
    require(count >= 2, "samples", expected="at least 2 draws", got=count)
    flat = samples.flatten(2)
    found = flat.mean(1)
    d = flat - found[:, None]
    c = d.mT @ d / (count - 1)
    trace, square = c.diagonal(dim1=1, dim2=2).sum(1), c.square().sum((1, 2))
    # E ||C_S||_F^2 = ||C||_F^2 (1 + 1 / (S - 1)) + (tr C)^2 / (S - 1)
    chance = (trace**2 + square) / (count - 1) / (1 + 1 / (count - 1))
    off_mean = (found - mean.flatten(1)).square().sum(1) - trace / count
    off_cov = (c - cov).square().sum((1, 2)) - chance
    scale = cov.diagonal(dim1=1, dim2=2).sum(1)
    mean_error = (off_mean.clamp(min=0) / scale).sqrt()
    return mean_error, (off_cov.clamp(min=0) / cov.square().sum((1, 2))).sqrt()


def sliced_wasserstein(
    u: Float[Tensor, "S n"], v: Float[Tensor, "S n"], *, directions: int = 1000, seed: int = 0
) -> Float[Tensor, ""]:
    r"""The sliced 2-Wasserstein distance between two clouds of as many points.

    .. math:: \Big( \mathrm{E}_\theta \, W_2^2(\theta^\top u, \theta^\top v) \Big)^{1/2}

    over random unit directions: in the units of the points.

    References:
        | Wasserstein Barycenter and its Application to Texture Mixing (Rabin et al., 2011)
    """
    generator = torch.Generator().manual_seed(seed)
    theta = torch.randn(u.shape[1], directions, generator=generator, dtype=u.dtype).to(u)
    theta = theta / theta.norm(dim=0)
    a, b = ((points @ theta).sort(0).values for points in (u, v))
    return (a - b).square().mean().sqrt()


def ranks(samples: Float[Tensor, "b S *n"], x: Float[Tensor, "b *n"]) -> Int[Tensor, "b *n"]:
    """The number of draws below x, for every entry: 0 to S.

    If x is drawn from the prior, y is measured from x, and the draws are from the exact posterior
    given y, all ranks are equally likely (simulation-based calibration).

    References:
        | Validating Bayesian Inference Algorithms with Simulation-Based Calibration (Talts et al.,
        | 2018), Theorem 1, https://arxiv.org/abs/1804.06788
    """
    return (samples < x.unsqueeze(1)).sum(1)


def coverage(
    samples: Float[Tensor, "b S *n"], x: Float[Tensor, "b *n"], level: float
) -> Float[Tensor, " b"]:
    """The fraction of entries of x inside the central interval of the draws, per lane.

    The interval excludes the c lowest and c highest of the S + 1 gaps between draws, with c = (S +
    1)(1 - level) / 2. If the draws are exact, it contains x with probability `level`.

    Raises:
        InvalidArgument: If c is not an integer of at least 1.
    """
    places = samples.shape[1] + 1
    out = places * (1 - level) / 2
    cut = round(out)
    good = cut >= 1 and abs(out - cut) < 1e-6
    expected = "S + 1 draws such that (S + 1)(1 - level) / 2 is an integer of 1 or more"
    require(good, "samples", expected=expected, got=f"S = {places - 1} for level {level}")
    r = ranks(samples, x)
    inside = (r >= cut) & (r < places - cut)
    return inside.flatten(1).to(x).mean(1)
