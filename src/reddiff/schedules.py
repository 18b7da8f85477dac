r"""Noise levels: :math:`x_k = \alpha_k x_0 + \sigma_k n`, noisiest first.

What a denoiser sees depends on :math:`s = \sigma / \alpha` alone, so VP, VE (EDM) and flow
schedules are coordinates of one thing, and any solver runs on any of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from reddiff.errors import require


@dataclass(frozen=True, eq=False)
class Schedule:
    """K noise levels, noisiest first, and the level where the last step arrives.

    Arguments:
        alpha: The K + 1 signal scales, positive.
        sigma: The K + 1 noise scales; positive, only the last may be zero.

    Raises:
        InvalidArgument: If a table is not finite, not positive, or sigma / alpha ever increases.
    """

    alpha: Tensor
    sigma: Tensor

    def __post_init__(self) -> None:
        for name in ("alpha", "sigma"):
            object.__setattr__(self, name, torch.as_tensor(getattr(self, name)).double())
        alpha, sigma = self.alpha, self.sigma
        same = alpha.ndim == 1 and alpha.shape == sigma.shape and len(alpha) >= 2
        shapes = f"{tuple(alpha.shape)} and {tuple(sigma.shape)}"
        require(same, "alpha, sigma", expected="two vectors of equal length >= 2", got=shapes)
        good = torch.isfinite(alpha).all() and torch.isfinite(sigma).all() and (alpha > 0).all()
        require(bool(good), "alpha", expected="finite values above 0, sigma finite", got=alpha)
        positive = (sigma[:-1] > 0).all() and sigma[-1] >= 0
        require(bool(positive), "sigma", expected="values above 0 (the last: 0 or more)", got=sigma)
        levels = self.levels
        falling = (levels[1:] <= levels[:-1] * (1 + 1e-12)).all()
        require(bool(falling), "sigma / alpha", expected="noisiest first, no increase", got=levels)

    def __len__(self) -> int:
        return len(self.sigma) - 1

    def __call__(self, k: Tensor) -> tuple[Tensor, Tensor]:
        """The scales (alpha, sigma) at step index `k` `(b,)`, 0 <= k <= K: two `(b,)` tensors."""
        return self.alpha[k], self.sigma[k]

    @property
    def levels(self) -> Float64[Tensor, " entries"]:
        """The noise levels s = sigma / alpha of all K + 1 entries."""
        return self.sigma / self.alpha

    def to(self, device: torch.device | str) -> Schedule:
        """The same schedule with its tables on another device."""
        return Schedule(self.alpha.to(device), self.sigma.to(device))

    def subsample(self, steps: int) -> Schedule:
        """Exactly `steps` of the K levels, evenly by index, both ends kept.

        Raises:
            InvalidArgument: If `steps` is below 1 or above K.
        """
        check_steps(steps)
        require(steps <= len(self), "steps", expected=f"at most {len(self)} levels", got=steps)
        index = torch.linspace(0, len(self) - 1, steps, dtype=torch.float64).round().long()
        index = torch.cat([index, torch.tensor([len(self)])]).to(self.alpha.device)
        return Schedule(self.alpha[index], self.sigma[index])

    def restrict(self, sigma_min: float = 0.0, sigma_max: float = math.inf) -> Schedule:
        """Only the levels with sigma_min <= s <= sigma_max; the arrival level stays.

        Raises:
            InvalidArgument: If no level is left.
        """
        s = self.levels[:-1]
        keep = (s >= sigma_min) & (s <= sigma_max)
        require(
            bool(keep.any()),
            "sigma_min, sigma_max",
            expected=f"a range that meets the levels {float(s.min()):.4g} to {float(s.max()):.4g}",
            got=f"{sigma_min:.4g} to {sigma_max:.4g}",
        )
        keep = torch.cat([keep, keep.new_ones(1)])
        return Schedule(self.alpha[keep], self.sigma[keep])


def vp(steps: int, beta_min: float = 1e-4, beta_max: float = 2e-2, T: int = 1000) -> Schedule:
    r"""The linear variance-preserving schedule: :math:`\alpha^2 = \prod_{i \le t} (1 - \beta_i)`.

    `steps` of the T trained levels, evenly, from T - 1 to 0, both ends included, then clean.

    References:
        | Denoising Diffusion Probabilistic Models (Ho et al., 2020), https://arxiv.org/abs/2006.11239

    Raises:
        InvalidArgument: If `steps` is below 1 or above T.
    """
    check_steps(steps)
    require(steps <= T, "steps", expected=f"at most T = {T}", got=steps)
    beta = torch.linspace(beta_min, beta_max, T, dtype=torch.float64)
    abar = torch.cumprod(1 - beta, 0).flip(0)
    return _from_abar(abar).subsample(steps)


def vp_within(steps: int, sigma_min: float = 0.0, sigma_max: float = math.inf) -> Schedule:
    """`steps` of those levels of the linear VP schedule (T = 1000) that lie in a range.

    Arguments:
        steps: How many, evenly by index, both ends of the range kept.
        sigma_min: Levels sigma / alpha below it are left out, for priors of limited range.
        sigma_max: And those above it.

    Raises:
        InvalidArgument: If there are no levels in the range, or fewer than `steps`.
    """
    return vp(1000).restrict(sigma_min, sigma_max).subsample(steps)


def cosine(steps: int, offset: float = 0.008, beta_max: float = 0.999, T: int = 1000) -> Schedule:
    r"""The cosine schedule: :math:`\bar\alpha = \cos^2(\frac{t/T + c}{1 + c} \frac{\pi}{2})`.

    References:
        | Improved DDPM (Nichol & Dhariwal, 2021), Equation 17, https://arxiv.org/abs/2102.09672

    Raises:
        InvalidArgument: If `steps` is below 1 or above T.
    """
    check_steps(steps)
    require(steps <= T, "steps", expected=f"at most T = {T}", got=steps)
    t = torch.linspace(0, 1, T + 1, dtype=torch.float64)
    f = torch.cos((t + offset) / (1 + offset) * math.pi / 2) ** 2
    beta = (1 - f[1:] / f[:-1]).clamp(max=beta_max)
    return _from_abar(torch.cumprod(1 - beta, 0).flip(0)).subsample(steps)


def karras(
    steps: int, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0
) -> Schedule:
    r"""The EDM levels (alpha = 1), evenly spaced in :math:`\sigma^{1/\rho}`, then clean.

    References:
        | Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
        | Equation 5, https://arxiv.org/abs/2206.00364

    Raises:
        InvalidArgument: If `steps` < 1, or not 0 < sigma_min <= sigma_max < inf.
    """
    check_steps(steps)
    _check_range(sigma_min, sigma_max)
    u = torch.linspace(0, 1, steps, dtype=torch.float64)
    s = (sigma_max ** (1 / rho) + u * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho
    s = torch.cat([s, s.new_zeros(1)])
    return Schedule(torch.ones_like(s), s)


def geometric(steps: int, sigma_min: float, sigma_max: float) -> Schedule:
    """Levels (alpha = 1) evenly spaced in log sigma, then clean.

    Raises:
        InvalidArgument: If `steps` < 1, or not 0 < sigma_min <= sigma_max < inf.
    """
    check_steps(steps)
    _check_range(sigma_min, sigma_max)
    log_s = torch.linspace(math.log(sigma_max), math.log(sigma_min), steps, dtype=torch.float64)
    s = torch.cat([log_s.exp(), log_s.new_zeros(1)])
    return Schedule(torch.ones_like(s), s)


def flow(steps: int, t_max: float = 1 - 1e-3) -> Schedule:
    """The rectified-flow path: alpha = 1 - t, sigma = t, with t even from t_max to 0.

    References:
        | Flow Matching for Generative Modeling (Lipman et al., 2023), https://arxiv.org/abs/2210.02747

    Raises:
        InvalidArgument: If `steps` < 1, or not 0 < t_max < 1.
    """
    check_steps(steps)
    require(0 < t_max < 1, "t_max", expected="a number between 0 and 1", got=t_max)
    t = torch.linspace(t_max, 0, steps + 1, dtype=torch.float64)
    return Schedule(1 - t, t)


def constant(steps: int, sigma: float) -> Schedule:
    """The same level s = sigma (alpha = 1) at every step: RED's single denoiser.

    Raises:
        InvalidArgument: If `steps` < 1, or sigma is not positive.
    """
    check_steps(steps)
    require(0 < sigma < math.inf, "sigma", expected="a positive number", got=sigma)
    s = torch.full((steps + 1,), sigma, dtype=torch.float64)
    return Schedule(torch.ones_like(s), s)


def check_steps(steps: int) -> None:
    """Raise InvalidArgument unless `steps` is an integer of at least 1."""
    integer = isinstance(steps, int) and not isinstance(steps, bool)
    require(integer and steps >= 1, "steps", expected="an integer of at least 1", got=repr(steps))


def _check_range(sigma_min: float, sigma_max: float) -> None:
    good = 0 < sigma_min <= sigma_max < math.inf
    expected = "0 < sigma_min <= sigma_max < inf"
    require(good, "sigma_min, sigma_max", expected=expected, got=f"{sigma_min}, {sigma_max}")


def _from_abar(abar: Tensor) -> Schedule:
    abar = torch.cat([abar, abar.new_ones(1)])
    return Schedule(abar.sqrt(), (1 - abar).sqrt())
