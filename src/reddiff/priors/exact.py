r"""Priors whose posterior is known in closed form: every solver has a right answer on them.

For y = A x + n with Gaussian n and linear A, a Gaussian prior has a Gaussian posterior and a
mixture has a mixture. Everything runs in the dtype of the prior; use float64 for references.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fft import fftfreq, irfft2, rfft2, rfftfreq

from reddiff.errors import Unsupported, require
from reddiff.lanes import lanes, repeat
from reddiff.linalg import cg
from reddiff.operators.base import LinearOperator
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import DRAWING, Keys, Rng


class GaussianBase(Prior):
    r"""A Gaussian prior N(m, C) of which `filter` applies functions of C."""

    mean: Tensor

    @abstractmethod
    def filter(self, v: Float[Tensor, "b *n"], kind: str, sigma: Tensor) -> Tensor:
        r"""f(C) v.

        f(c) is c for `covariance`, :math:`\sqrt c` for `root`, c / (c + sigma^2) for `wiener`.
        """

    @final
    def denoise(self, x: Float[Tensor, "b *n"], sigma: Tensor) -> Float[Tensor, "b *n"]:
        """m + C (C + sigma^2 I)^-1 (x - m)."""
        return self.mean + self.filter(x - self.mean, "wiener", sigma)

    def covariance(self, v: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """C v."""
        return self.filter(v, "covariance", v.new_zeros(()))

    def sample(self, like: Float[Tensor, "b *n"], rng: Rng) -> Float[Tensor, "b *n"]:
        """Draws of x, one per lane, of the shape of `like`."""
        return self.mean + self.filter(rng.randn_like(like), "root", like.new_zeros(()))

    def posterior(self, problem: Problem) -> GaussianPosterior:
        """The exact posterior of a linear problem with Gaussian noise.

        Raises:
            Unsupported: If the operator is not linear or the noise not Gaussian, or sigma is 0.
        """
        return GaussianPosterior(self, problem)


def _apply(kind: str, c: Tensor, sigma: Tensor) -> Tensor:
    if kind == "covariance":
        return c
    return c.sqrt() if kind == "root" else c / (c + sigma**2)


class GaussianPrior(GaussianBase):
    """N(mean, cov) with a dense covariance.

    Arguments:
        mean: `(*n)`, which is the shape of x.
        cov: `(N, N)`, symmetric positive semi-definite, N the number of entries of x.

    Raises:
        InvalidArgument: If the shapes do not fit, or cov is not symmetric positive semi-definite.
    """

    def __init__(self, mean: Tensor, cov: Tensor) -> None:
        super().__init__(tuple(mean.shape))
        n = mean.numel()
        require(cov.shape == (n, n), "cov", expected=f"shape {(n, n)}", got=tuple(cov.shape))
        symmetric = torch.allclose(cov, cov.mT, rtol=1e-4, atol=1e-8)
        require(symmetric, "cov", expected="a symmetric matrix", got="one that is not")
        c, q = torch.linalg.eigh(cov)
        least = float(c.min() / c.max().clamp(min=torch.finfo(c.dtype).tiny))
        psd = least > -1e-6
        require(psd, "cov", expected="no negative eigenvalue", got=f"{least:.3g} of the largest")
        self.register_buffer("mean", mean)
        self.register_buffer("c", c.clamp(min=0))
        self.register_buffer("q", q)

    c: Tensor
    q: Tensor

    def filter(self, v: Float[Tensor, "b *n"], kind: str, sigma: Tensor) -> Tensor:
        """Q f(c) Q^T v."""
        level = sigma.reshape(-1, 1)
        return ((v.flatten(1) @ self.q * _apply(kind, self.c, level)) @ self.q.mT).view_as(v)


class GaussianRandomField(GaussianBase):
    r"""A stationary Gaussian field on a torus with the power spectrum :math:`|f|^{\gamma}`.

    Any height and width; f in cycles per pixel, the zero frequency counting as the lowest of the
    longer side; channels are independent.

    Arguments:
        exponent: :math:`\gamma`; natural images have about -2.
        std: The standard deviation of a pixel, the same at every size.
        mean: The mean of a pixel.
        channels: The number of channels.
        dtype: The floating-point type it works in.

    Raises:
        InvalidArgument: If `std` is not positive.
    """

    def __init__(
        self,
        exponent: float = -2.2,
        std: float = 0.5,
        mean: float = 0.0,
        channels: int = 1,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__((channels, None, None))
        require(std > 0, "std", expected="a positive number", got=std)
        self.exponent, self.std = exponent, std
        self.register_buffer("mean", torch.tensor(mean, dtype=dtype))

    def spectrum(self, height: int, width: int) -> Float[Tensor, "h w2"]:
        """The eigenvalues of C at the frequencies of a real FFT."""
        fy = fftfreq(height, dtype=self.mean.dtype, device=self.mean.device)[:, None]
        full = fftfreq(width, dtype=self.mean.dtype, device=self.mean.device)
        lowest = 1 / max(height, width)
        mean_power = self._power((fy**2 + full**2).sqrt(), lowest).mean()
        half = rfftfreq(width, dtype=self.mean.dtype, device=self.mean.device)
        return self._power((fy**2 + half**2).sqrt(), lowest) * self.std**2 / mean_power

    def _power(self, f: Tensor, lowest: float) -> Tensor:
        return torch.where(f == 0, lowest, f) ** self.exponent

    def filter(self, v: Float[Tensor, "b c h w"], kind: str, sigma: Tensor) -> Tensor:
        """The filter f(spectrum)."""
        height, width = v.shape[-2:]
        gain = _apply(kind, self.spectrum(height, width), sigma)
        return irfft2(rfft2(v) * gain, s=(height, width))


@dataclass(frozen=True, eq=False)
class GaussianPosterior:
    """p(x | y) for a Gaussian prior, a linear operator and Gaussian noise; matrix-free.

    Arguments:
        prior: N(m, C).
        problem: The measurements.
        tol: The relative residual at which conjugate gradients stop.
        iterations: The most they take.

    Raises:
        Unsupported: If the operator is not linear, the noise not Gaussian, or its sigma 0.
    """

    prior: GaussianBase
    problem: Problem
    tol: float = 1e-12
    iterations: int = 5000

    def __post_init__(self) -> None:
        _sigma_y(self.problem)

    @property
    def mean(self) -> Float[Tensor, "b *n"]:
        """m + C A^T (A C A^T + sigma_y^2)^-1 (y - A m)."""
        shape = (len(self.problem), *self.problem.x_shape)
        m = self.prior.mean.expand(shape)
        return m + self._gain(self.problem.residual(m))

    def covariance(self, v: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """The posterior covariance times v: C v - C A^T (A C A^T + sigma_y^2)^-1 A C v."""
        cv = self.prior.covariance(v)
        return cv - self._gain(self._measure(cv))

    def sample(self, n: int, *, seed: int = 0) -> Float[Tensor, "b n *m"]:
        """n exact draws per lane, by conditioning draws of (x, y) (Matheron's rule)."""
        wide = Problem.select(self.problem, _spread(self.problem, n))
        keys = Keys(seed, tuple(range(len(self.problem)))).repeat(n)
        rng = keys.at(DRAWING)
        x = self.prior.sample(wide.y.new_empty(len(wide), *wide.x_shape), rng)
        y = wide.noise.sample(wide.operator(x), rng)
        gain = GaussianPosterior(self.prior, wide, self.tol, self.iterations)._gain
        return (x + gain(torch.where(wide.measured, wide.y - y, 0))).unflatten(0, (-1, n))

    def _measure(self, x: Tensor) -> Tensor:
        return torch.where(self.problem.measured, self.problem.operator(x), 0)

    def _gain(self, r: Tensor) -> Tensor:
        """C A^T (A C A^T + sigma_y^2)^-1 r."""
        operator = self.problem.operator
        assert isinstance(operator, LinearOperator)  # noqa: S101  (checked when made)
        var = lanes(_sigma_y(self.problem), r) ** 2

        def back(v: Tensor) -> Tensor:
            return self.prior.covariance(operator.adjoint(v))

        def matvec(v: Tensor) -> Tensor:
            return self._measure(back(v)) + var * v

        return back(cg(matvec, r, tol=self.tol, iterations=self.iterations))


class GaussianMixture(Prior):
    r"""The mixture :math:`\sum_k w_k N(m_k, C_k)` with dense covariances.

    Arguments:
        weights: `(K,)`, positive; normalised to sum 1.
        means: `(K, *n)`.
        covs: `(K, N, N)`, symmetric positive definite.

    Raises:
        InvalidArgument: If the shapes do not fit, or a weight is not positive.
    """

    weights: Tensor
    means: Tensor
    covs: Tensor
    c: Tensor
    q: Tensor

    def __init__(self, weights: Tensor, means: Tensor, covs: Tensor) -> None:
        super().__init__(tuple(means.shape[1:]))
        k, n = len(means), means[0].numel()
        require(weights.shape == (k,), "weights", expected=f"shape {(k,)}", got=weights.shape)
        require(covs.shape == (k, n, n), "covs", expected=f"shape {(k, n, n)}", got=covs.shape)
        require(bool((weights > 0).all()), "weights", expected="values above 0", got=weights)
        c = covs.diagonal(dim1=1, dim2=2)
        self.diagonal = torch.equal(c.diag_embed(), covs)  # then no basis is changed
        c, q = (c.clone(), torch.eye(n).to(covs)) if self.diagonal else torch.linalg.eigh(covs)
        require(bool((c > 0).all()), "covs", expected="positive definite matrices", got=c.min())
        self.register_buffer("weights", weights / weights.sum())
        self.register_buffer("means", means.flatten(1))
        self.register_buffer("covs", covs)
        self.register_buffer("c", c)
        self.register_buffer("q", q)

    def denoise(self, x: Float[Tensor, "b *n"], sigma: Tensor) -> Float[Tensor, "b *n"]:
        """The components' denoisers, weighted by how likely each made x."""
        var = sigma.reshape(-1, 1, 1) ** 2
        d = x.flatten(1)[:, None] - self.means
        z = d if self.diagonal else torch.einsum("bkn,knm->bkm", d, self.q)
        log_p = self.weights.log() - 0.5 * (z**2 / (self.c + var) + (self.c + var).log()).sum(2)
        shrunk = z * self.c / (self.c + var)
        back = shrunk if self.diagonal else torch.einsum("bkm,knm->bkn", shrunk, self.q)
        each = self.means + back
        return (log_p.softmax(1)[:, :, None] * each).sum(1).view_as(x)

    def sample(self, like: Float[Tensor, "b *n"], rng: Rng) -> Float[Tensor, "b *n"]:
        """Draws of x, one per lane, of the shape of `like`."""
        rows = torch.zeros(len(like), dtype=torch.int64, device=like.device)
        return _draw(self.weights[None], self.means[None], self.covs[None], rows, like, rng)

    def posterior(self, problem: Problem) -> MixturePosterior:
        """The exact posterior of a linear problem with Gaussian noise.

        Raises:
            Unsupported: If the operator is not linear or the noise not Gaussian, or sigma is 0.
        """
        a = dense_matrix(problem)
        y = problem.y.flatten(1)
        var = lanes(_sigma_y(problem), y[:, 0]).expand(len(a)) ** 2
        ca = torch.einsum("kij,bmj->bkim", self.covs, a)
        s = torch.einsum("bmi,bkin->bkmn", a, ca)
        s = s + var[:, None, None, None] * torch.eye(a.shape[1]).to(a)
        r = y[:, None] - torch.einsum("bmi,ki->bkm", a, self.means)
        factor = torch.linalg.cholesky(s)
        solved = torch.cholesky_solve(r[..., None], factor)[..., 0]
        log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log_w = self.weights.log() - 0.5 * (r * solved).sum(-1) - log_det
        means = self.means + torch.einsum("bkim,bkm->bki", ca, solved)
        covs = self.covs - ca @ torch.cholesky_solve(ca.mT, factor)
        return MixturePosterior(log_w.softmax(1), means, covs, problem.x_shape)


@dataclass(frozen=True, eq=False)
class MixturePosterior:
    """A mixture per lane.

    Arguments:
        weights: `(b, K)`.
        means: `(b, K, N)`.
        covs: `(b, K, N, N)`.
        shape: The shape of one x.
    """

    weights: Tensor
    means: Tensor
    covs: Tensor
    shape: tuple[int, ...]

    @property
    def mean(self) -> Float[Tensor, "b *n"]:
        """The posterior mean."""
        return (self.weights[..., None] * self.means).sum(1).unflatten(1, self.shape)

    def covariance(self, v: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """The posterior covariance times v, within and between components."""
        flat = v.flatten(1)
        d = self.means - self.mean.flatten(1)[:, None]
        each = torch.einsum("bkij,bj->bki", self.covs, flat)
        each = each + d * torch.einsum("bki,bi->bk", d, flat)[..., None]
        return (self.weights[..., None] * each).sum(1).view_as(v)

    def sample(self, n: int, *, seed: int = 0) -> Float[Tensor, "b n *m"]:
        """n exact draws per lane."""
        b = len(self.weights)
        like = self.means.new_empty(b * n, *self.shape)
        rng = Keys(seed, tuple(range(b))).repeat(n).at(DRAWING)
        rows = repeat(torch.arange(b, device=like.device), n)
        x = _draw(self.weights, self.means, self.covs, rows, like, rng)
        return x.unflatten(0, (b, n))


def dense_matrix(problem: Problem) -> Float[Tensor, "b M N"]:
    """The operator of a linear problem as one dense matrix per lane.

    Raises:
        Unsupported: If the operator is not linear.
    """
    if not isinstance(problem.operator, LinearOperator):
        raise Unsupported("posterior: expected a linear operator, got a nonlinear one")
    shape, b = problem.x_shape, len(problem)
    n = math.prod(shape)
    eye = torch.eye(n, dtype=problem.y.dtype, device=problem.y.device).view(n, *shape)
    columns = [problem.operator(e.expand(b, *shape)).flatten(1) for e in eye]
    return torch.stack(columns, 2) * problem.measured.flatten(1)[..., None]


def _sigma_y(problem: Problem) -> Tensor | float:
    if not problem.linear_gaussian:
        raise Unsupported(
            "posterior: expected a linear operator and Gaussian noise, got "
            f"{type(problem.operator).__name__} and {type(problem.noise).__name__}"
        )
    if bool((torch.as_tensor(problem.sigma_y) == 0).any()):
        raise Unsupported("posterior: expected sigma > 0, got sigma = 0")
    return problem.sigma_y


def _spread(problem: Problem, n: int) -> Tensor:
    return torch.arange(len(problem), device=problem.y.device).repeat_interleave(n)


def _draw(
    weights: Tensor, means: Tensor, covs: Tensor, rows: Tensor, like: Tensor, rng: Rng
) -> Tensor:
    """One draw for each of the rows from that row of the mixtures (b, K, ...)."""
    u = rng.rand_like(like.flatten(1)[:, :1].to(weights))
    k = (weights[rows].cumsum(1) < u).sum(1).clamp(max=weights.shape[1] - 1)
    n = rng.randn_like(like).flatten(1)
    root = torch.linalg.cholesky(covs)[rows, k]
    return (means[rows, k] + (root @ n[..., None])[..., 0]).view_as(like)
