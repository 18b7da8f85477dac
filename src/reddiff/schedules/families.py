"""Families of schedules: VP, cosine, EDM, geometric, rectified flow, constant."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from reddiff.errors import require, require_count, require_positive
from reddiff.schedules.schedule import Schedule, preset


def vp(steps: int, beta_min: float = 1e-4, beta_max: float = 2e-2, T: int = 1000) -> Schedule:
    r"""The linear variance-preserving schedule: :math:`\alpha^2 = \prod_{i \le t} (1 - \beta_i)`.

    `steps` of the T levels are taken, evenly spaced from T - 1 to 0, including both ends, followed
    by level 0.

    References:
        | Denoising Diffusion Probabilistic Models (Ho et al., 2020), https://arxiv.org/abs/2006.11239

    Raises:
        InvalidArgument: If `steps` is below 1 or above T.
    """
    require_count("steps", steps)
    require(steps <= T, "steps", expected=f"at most T = {T}", got=steps)
    beta = torch.linspace(beta_min, beta_max, T, dtype=torch.float64)
    abar = torch.cumprod(1 - beta, 0).flip(0)
    return _from_abar(abar).subsample(steps)


def vp_within(steps: int, sigma_min: float = 0.0, sigma_max: float = math.inf) -> Schedule:
    """A preset: `steps` levels of the linear VP schedule (T = 1000) within a range.

    They are evenly spaced by index and include both ends of the range. If the range contains fewer
    than `steps` of the 1000 levels, further levels are interpolated linearly in log s.

    Arguments:
        steps: The number of levels, at most 1000.
        sigma_min: The lower end of the range of sigma / alpha.
        sigma_max: The upper end of the range.

    Raises:
        InvalidArgument: If there are no levels in the range, or `steps` is not from 1 to 1000.
    """
    return preset(partial(_vp_levels, steps), sigma_min, sigma_max)


def vp_late_within(steps: int, sigma_min: float = 0.0, sigma_max: float = math.inf) -> Schedule:
    r"""`vp_within` with more low levels: the levels of DiffPIR, quadratic in t.

    Among the K levels of the chain in the range, noisiest first, level i has the index
    :math:`K \sqrt{i / (steps - 1)}`, rounded down. If indices coincide, levels are interpolated as
    in `vp_within`. The arguments and errors are those of `vp_within`.
    """
    return preset(partial(_vp_late_levels, steps), sigma_min, sigma_max)


def _vp_levels(steps: int, sigma_min: float, sigma_max: float) -> Schedule:
    kept = _vp_kept(steps, sigma_min, sigma_max)
    if steps <= len(kept):
        return kept.subsample(steps)
    return _interpolated(kept, torch.linspace(0, len(kept) - 1, steps, dtype=torch.float64))


def _vp_late_levels(steps: int, sigma_min: float, sigma_max: float) -> Schedule:
    kept = _vp_kept(steps, sigma_min, sigma_max)
    at = torch.linspace(0, 1, steps, dtype=torch.float64).sqrt()
    last = len(kept) - 1
    whole = (len(kept) * at).floor().clamp(max=last)
    return _interpolated(kept, whole if len(whole.unique()) == steps else last * at)


def _vp_kept(steps: int, sigma_min: float, sigma_max: float) -> Schedule:
    """The levels of the chain within a range."""
    require_count("steps", steps)
    require(steps <= 1000, "steps", expected="at most 1000 levels", got=steps)
    return vp(1000).restrict(sigma_min, sigma_max)


def _interpolated(kept: Schedule, at: Tensor) -> Schedule:
    """The levels of a VP schedule at fractional indices, interpolated linearly in log s."""
    log_s = kept.levels[:-1].log()
    low = at.floor().long().clamp(max=max(len(kept) - 2, 0))
    high = (low + 1).clamp(max=len(kept) - 1)
    s = torch.lerp(log_s[low], log_s[high], at - low).exp()
    alpha = torch.cat([(1 + s**2).rsqrt(), s.new_ones(1)])
    return Schedule(alpha, torch.cat([s, s.new_zeros(1)]) * alpha)


def cosine(steps: int, offset: float = 0.008, beta_max: float = 0.999, T: int = 1000) -> Schedule:
    r"""The cosine schedule: :math:`\bar\alpha = \cos^2(\frac{t/T + c}{1 + c} \frac{\pi}{2})`.

    References:
        | Improved DDPM (Nichol & Dhariwal, 2021), Equation 17, https://arxiv.org/abs/2102.09672

    Raises:
        InvalidArgument: If `steps` is below 1 or above T.
    """
    require_count("steps", steps)
    require(steps <= T, "steps", expected=f"at most T = {T}", got=steps)
    t = torch.linspace(0, 1, T + 1, dtype=torch.float64)
    f = torch.cos((t + offset) / (1 + offset) * math.pi / 2) ** 2
    beta = (1 - f[1:] / f[:-1]).clamp(max=beta_max)
    return _from_abar(torch.cumprod(1 - beta, 0).flip(0)).subsample(steps)


def karras(
    steps: int, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0
) -> Schedule:
    r"""The EDM levels (alpha = 1), evenly spaced in :math:`\sigma^{1/\rho}`, followed by 0.

    References:
        | Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
        | Equation 5, https://arxiv.org/abs/2206.00364

    Raises:
        InvalidArgument: If `steps` < 1, or not 0 < sigma_min <= sigma_max < inf.
    """
    require_count("steps", steps)
    _check_range(sigma_min, sigma_max)
    u = torch.linspace(0, 1, steps, dtype=torch.float64)
    s = (sigma_max ** (1 / rho) + u * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho
    return _then_clean(s)


def geometric(steps: int, sigma_min: float, sigma_max: float) -> Schedule:
    """Levels (alpha = 1) evenly spaced in log sigma, followed by 0.

    Raises:
        InvalidArgument: If `steps` < 1, or not 0 < sigma_min <= sigma_max < inf.
    """
    require_count("steps", steps)
    _check_range(sigma_min, sigma_max)
    log_s = torch.linspace(math.log(sigma_max), math.log(sigma_min), steps, dtype=torch.float64)
    return _then_clean(log_s.exp())


def even(steps: int, sigma_min: float, sigma_max: float) -> Schedule:
    """Levels (alpha = 1) evenly spaced in sigma, followed by 0.

    Raises:
        InvalidArgument: If `steps` < 1, or not 0 < sigma_min <= sigma_max < inf.
    """
    require_count("steps", steps)
    _check_range(sigma_min, sigma_max)
    s = torch.linspace(sigma_max, sigma_min, steps, dtype=torch.float64)
    return _then_clean(s)


def flow(steps: int, t_max: float = 1 - 1e-3) -> Schedule:
    """The rectified-flow path: alpha = 1 - t, sigma = t, with t evenly spaced from t_max to 0.

    References:
        | Flow Matching for Generative Modeling (Lipman et al., 2023), https://arxiv.org/abs/2210.02747

    Raises:
        InvalidArgument: If `steps` < 1, or not 0 < t_max < 1.
    """
    require_count("steps", steps)
    require(0 < t_max < 1, "t_max", expected="a number between 0 and 1", got=t_max)
    t = torch.linspace(t_max, 0, steps + 1, dtype=torch.float64)
    return Schedule(1 - t, t)


def constant(steps: int, sigma: float) -> Schedule:
    """The same level s = sigma (alpha = 1) at every step, as in RED.

    Raises:
        InvalidArgument: If `steps` < 1, or sigma is not positive.
    """
    require_count("steps", steps)
    require_positive("sigma", sigma)
    s = torch.full((steps + 1,), sigma, dtype=torch.float64)
    return Schedule(torch.ones_like(s), s)


def held(steps: int, sigma: float, sigma_min: float, sigma_max: float) -> Schedule:
    """`constant` at sigma clipped to a range, from which `preset` makes a preset."""
    return constant(steps, min(max(sigma, sigma_min), sigma_max))


def _then_clean(s: Tensor) -> Schedule:
    """The levels s with alpha = 1, and 0 as the last."""
    sigma = torch.cat([s, s.new_zeros(1)])
    return Schedule(torch.ones_like(sigma), sigma)


def _check_range(sigma_min: float, sigma_max: float) -> None:
    good = 0 < sigma_min <= sigma_max < math.inf
    expected = "0 < sigma_min <= sigma_max < inf"
    require(good, "sigma_min, sigma_max", expected=expected, got=f"{sigma_min}, {sigma_max}")


def _from_abar(abar: Tensor) -> Schedule:
    abar = torch.cat([abar, abar.new_ones(1)])
    return Schedule(abar.sqrt(), (1 - abar).sqrt())
