r"""Draws from :math:`p(y \mid A(x))\, e^{-\|x - c\|^2 / 2 r^2}`, a likelihood near a center."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import Unsupported, require
from reddiff.lanes import dot, finite, lanes, pick
from reddiff.noise import Gaussian, Noise
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.solvers.steps.likelihood import Target, curvature
from reddiff.solvers.steps.proximal import proximal
from reddiff.spectral_view import SpectralView

TOL, ITERATIONS = 1e-6, 500  # of the system that a draw solves: its error is far below its spread
STABLE = 1.5  # the most that h times the curvature may be: at 2 Langevin steps diverge
SPREAD = 0.2  # how much a trajectory's step varies about the one asked for: none has a period


@dataclass(frozen=True)
class Conditional(ABC):
    """A way to draw x from a Gaussian around a centre times the likelihood of y."""

    @abstractmethod
    def __call__(
        self, problem: Problem, centre: Float[Tensor, "b *n"], r: Tensor, start: Tensor, rng: Rng
    ) -> Float[Tensor, "b *n"]:
        """One draw per lane.

        Arguments:
            problem: y, A and the noise.
            centre: c, of the shape of x.
            r: The standard deviation of x about the centre, above 0, in units of x `(b,)`.
            start: Where iterative methods begin.
            rng: The source of noise.
        """

    def check(self, problem: Problem) -> None:
        """Raise Unsupported if there is no such density, or no way to draw from it."""
        _check_density(self, problem.noise)

    def paced(self, factor: Tensor) -> Conditional:
        """The same with its published step size times `factor` `(b,)`, if it has one."""
        return self


@final
@dataclass(frozen=True)
class PerturbAndSolve(Conditional):
    r"""Exact draws, for a linear A and Gaussian noise: the solution for perturbed y and centre.

    .. math:: x = \arg\min_x \frac{\|y + \sigma_y n_1 - A x\|^2}{2 \sigma_y^2} +
        \frac{\|x - c - r n_2\|^2}{2 r^2}

    sigma_y = 0 is a limit of it: draws that explain y exactly.
    See `reddiff.solvers.steps.proximal.proximal`.

    References:
        | Gaussian Sampling by Local Perturbations (Papandreou & Yuille, 2010)
    """

    def __call__(
        self, problem: Problem, centre: Float[Tensor, "b *n"], r: Tensor, start: Tensor, rng: Rng
    ) -> Float[Tensor, "b *n"]:
        """One draw per lane."""
        return _perturbed(problem, centre, r, start, rng)

    def check(self, problem: Problem) -> None:
        """Raise Unsupported unless A is linear and the noise Gaussian."""
        if not problem.linear_gaussian:
            got = f"{type(problem.operator).__name__} and {type(problem.noise).__name__}"
            raise Unsupported(
                f"PerturbAndSolve: expected a LinearOperator and Gaussian noise, got {got}"
            )


@final
@dataclass(frozen=True)
class Sharpened(Conditional):
    r"""Draws for split Gibbs sampling that leave its other half without bias.

    .. math:: z \sim N(y;\, A z,\; \sigma_y^2 - r^2 A A^T)\; e^{-\|z - x\|^2 / 2 r^2}

    The noise of y is sharpened by what the split adds: integrated over z, that is exactly
    :math:`N(y; A x, \sigma_y^2)`, so that x follows the posterior at any r up to
    :math:`\sigma_y / \|A\|`, where `PerturbAndSolve` gives the one of noise
    :math:`\sigma_y^2 + r^2 A A^T`. In spectral coordinates, with
    :math:`g_i = \min(1, r^2 s_i^2 / \sigma_y^2)`,

    .. math:: z_i = x_i + g_i (y_i / s_i - x_i) + r \sqrt{1 - g_i}\, n_i

    For a larger r the variance is cut at 0: z is consistent with y exactly, and x sees y_i / s_i
    with noise r. For spectral operators and Gaussian noise, sigma_y = 0 included. Ours.
    """

    def __call__(
        self, problem: Problem, centre: Float[Tensor, "b *n"], r: Tensor, start: Tensor, rng: Rng
    ) -> Float[Tensor, "b *n"]:
        """One draw per lane."""
        y = SpectralView.required(problem)
        x = y.operator.vt(centre)
        r = lanes(r, x)
        reached = r * y.s >= y.sigma  # also where sigma_y is 0
        ratio = r * y.s / torch.where(reached, 1, y.sigma)
        g = torch.where(reached, 1, ratio**2) * y.seen
        noise = y.operator.vt(rng.randn_like(centre))
        return y.operator.v(x + g * (y.x - x) + r * (1 - g).sqrt() * noise)

    def check(self, problem: Problem) -> None:
        """Raise Unsupported unless A has a spectral form and the noise is Gaussian."""
        if SpectralView.of(problem) is None:
            raise Unsupported(
                "Sharpened: expected a SpectralOperator and Gaussian noise, got "
                f"{type(problem.operator).__name__} and {type(problem.noise).__name__}"
            )


@final
@dataclass(frozen=True, eq=False)
class Langevin(Conditional):
    r"""Unadjusted Langevin steps: :math:`x \leftarrow x - h \nabla U(x) + \sqrt{2h}\,n`.

    U is the negative logarithm of the density. Biased: where U has the curvature l, the variance
    is 1 / (l - h l^2 / 2), too large by the factor 1 / (1 - step / 2) in the stiffest direction.
    And slow: soft directions, of curvature 1 / r^2, forget the start after r^2 / h steps. Poisson
    noise is tamed, see `energy.tamed_grad`: the mean of one count is off by a sixth of its spread.

    Arguments:
        steps: How many.
        step: h times the largest curvature, from 0 to 2. That is taken to be
            ||J||^2 `curvature(problem)` + 1 / r^2, with J the derivative of A at the start.
        lr: h itself, in units of x^2, in place of `step`; one number, or one per lane. It is cut to
            1.5 over the largest curvature, beyond which steps diverge: so for a large ||J||.
        tau: The sigma of a Gaussian likelihood in place of the noise of the problem.

    References:
        | Exponential Convergence of Langevin Distributions and Their Discrete Approximations
        | (Roberts & Tweedie, 1996)

    Raises:
        InvalidArgument: If an argument is out of its range.
    """

    steps: int = 100
    step: float = 0.2
    lr: float | Tensor | None = None
    tau: float | None = None

    def __post_init__(self) -> None:
        require(self.steps >= 1, "steps", expected="at least 1", got=self.steps)
        require(0 < self.step < 2, "step", expected="a number between 0 and 2", got=self.step)
        for name, value in (("lr", self.lr), ("tau", self.tau)):
            good = value is None or isinstance(value, Tensor) or 0 < value < math.inf
            require(good, name, expected="a positive number or None", got=value)

    def __call__(
        self, problem: Problem, centre: Float[Tensor, "b *n"], r: Tensor, start: Tensor, rng: Rng
    ) -> Float[Tensor, "b *n"]:
        """One draw per lane."""
        noise = problem.noise if self.tau is None else Gaussian(self.tau)
        target = Target(problem, noise, centre, r, curvature(problem, noise))
        stiffness = target.stiffness(start)
        # a published lr is for ||A|| = 1: at ||A|| > 1.41 the same step would diverge
        lr, stable = self.lr, STABLE / stiffness
        h = self.step / stiffness if lr is None else stable.clamp(max=lr)
        h, x = lanes(h, start), start
        scale = (2 * h).sqrt()
        for _ in range(self.steps):
            x = torch.addcmul(x, h, target.grad(x)[0], value=-1)
            x = x.addcmul_(scale, rng.randn_like(x))
        return x

    def check(self, problem: Problem) -> None:
        """Raise Unsupported for Gaussian noise of sigma 0, unless there is a `tau`."""
        if self.tau is None:
            _check_density(self, problem.noise)

    def paced(self, factor: Tensor) -> Langevin:
        """The same with `lr` times the factor."""
        return self if self.lr is None else replace(self, lr=self.lr * factor)


@final
@dataclass(frozen=True)
class HMC(Conditional):
    """Hamiltonian Monte Carlo: leapfrog trajectories, each accepted or rejected, lane by lane.

    No bias but that of the first x: every trajectory leaves the density as it is. The first x is
    what `PerturbAndSolve` would draw, were A linear where it ends (without noise on y, unless
    Gaussian), so that soft directions need not be walked. The steps within a trajectory shrink
    with the fourth root of the number of unknowns, which keeps the acceptance. A few trajectories
    do for a smooth likelihood; next to zero counts of Poisson noise it takes a hundred.

    Arguments:
        steps: How many trajectories.
        leapfrog: Steps within each; all are of one size, which varies by SPREAD between them.
        step: Their size, in units of (stiffness^2 N)^(-1/4), with N entries of x.

    References:
        | MCMC Using Hamiltonian Dynamics (Neal, 2011), Sections 3 and 4.4,
        | https://arxiv.org/abs/1206.1901

    Raises:
        InvalidArgument: If an argument is not positive.
    """

    steps: int = 10
    leapfrog: int = 10
    step: float = 1.5

    def __post_init__(self) -> None:
        for name in ("steps", "leapfrog"):
            value = getattr(self, name)
            require(value >= 1, name, expected="at least 1", got=value)
        require(0 < self.step < math.inf, "step", expected="a positive number", got=self.step)

    def __call__(
        self, problem: Problem, centre: Float[Tensor, "b *n"], r: Tensor, start: Tensor, rng: Rng
    ) -> Float[Tensor, "b *n"]:
        """One draw per lane."""
        target = Target(problem, problem.noise, centre, r, curvature(problem, problem.noise))
        size = self.step * start[0].numel() ** -0.25 * target.stiffness(start).rsqrt()
        x = _perturbed(problem, centre, r, start, rng)
        grad, a = target.grad(x)
        sound = finite(centre) & finite(grad)  # a rejection must not hide a divergence
        for _ in range(self.steps):
            h = lanes(size * (1 + SPREAD * (2 * rng.rand_like(size) - 1)), x)
            p = rng.randn_like(x)
            new, q, new_grad, new_a = x, p, grad, a
            for _ in range(self.leapfrog):
                q = q - h / 2 * new_grad
                new = new + h * q
                new_grad, new_a = target.grad(new)
                q = q - h / 2 * new_grad
            rise = target.rise(x, a, new, new_a) + _half_square(p, q)
            accepted = rng.rand_like(rise) < (-rise).exp()  # not if it is NaN
            x, grad, a = (pick(accepted, u, v) for u, v in ((new, x), (new_grad, grad), (new_a, a)))
        return pick(sound, x, torch.nan)


@final
@dataclass(frozen=True)
class Automatic(Conditional):
    """`PerturbAndSolve` for a linear A and Gaussian noise, else another.

    Arguments:
        otherwise: The other.
        sharpen: Whether to take `Sharpened` where A has a spectral form as well.
    """

    otherwise: Conditional = field(default_factory=HMC)
    sharpen: bool = False

    def __call__(
        self, problem: Problem, centre: Float[Tensor, "b *n"], r: Tensor, start: Tensor, rng: Rng
    ) -> Float[Tensor, "b *n"]:
        """One draw per lane."""
        return self._of(problem)(problem, centre, r, start, rng)

    def check(self, problem: Problem) -> None:
        """Raise Unsupported if the one of the two that fits has no theory for the problem."""
        self._of(problem).check(problem)

    def _of(self, problem: Problem) -> Conditional:
        if self.sharpen and SpectralView.of(problem) is not None:
            return Sharpened()
        return PerturbAndSolve() if problem.linear_gaussian else self.otherwise


def _perturbed(problem: Problem, centre: Tensor, r: Tensor, start: Tensor, rng: Rng) -> Tensor:
    """The proximal point of a perturbed centre and, for Gaussian noise, a perturbed y."""
    centre = centre + lanes(r, centre) * rng.randn_like(centre)
    if isinstance(problem.noise, Gaussian):
        y = problem.y + lanes(problem.noise.sigma, problem.y) * rng.randn_like(problem.y)
        problem = problem.derived(y=torch.where(problem.measured, y, 0))
    if problem.linear_gaussian:  # no start: its residual would have to be found first
        return proximal(problem, centre, r, tol=TOL, iterations=ITERATIONS).x
    return proximal(problem, centre, r, start=start).x


def _half_square(p: Tensor, q: Tensor) -> Tensor:
    """(||q||^2 - ||p||^2) / 2 per lane, in double."""
    p, q = p.double(), q.double()
    return dot(q - p, q + p) / 2


def _check_density(method: Conditional, noise: Noise) -> None:
    if isinstance(noise, Gaussian) and noise.noiseless:
        name = type(method).__name__
        raise Unsupported(f"{name}: expected noise with sigma > 0, got sigma = 0")
