"""A check of a denoiser before a run, with one evaluation at each of two noise levels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from reddiff.errors import InvalidArgument, ReddiffError, require
from reddiff.priors.base import Prior
from reddiff.random import MEASURING, Keys

LOW, HIGH = 1e-4, 1e3  # the levels, for priors with a wider range
SIDE, SMALL = 64, 16  # largest sides of the test x, for images and for other data
SHARE, LEVELS = 0.6, 5.0  # tolerance: rms(D(x + s n, s) - x) <= SHARE rms(x) + LEVELS s
RANDOM = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)
TROUBLE = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError)

_SKIP = "check=False skips this check"


def require_denoiser(prior: Prior, shape: tuple[int, ...], like: Tensor, *, vjp: bool) -> None:
    """Refuse a prior that does not denoise, or that has no gradient although one is needed.

    The prior is evaluated at its lowest and highest level, on a small smooth x. The estimates must
    be finite and have the shape of x, and D(x + s n, s) must be close to x at the lowest level.
    Priors of this package that are known to denoise (`trusted`) are not evaluated.

    Arguments:
        prior: The prior.
        shape: The shape of one x.
        like: A tensor with the dtype and device of x.
        vjp: Whether the solver differentiates the denoiser.

    Raises:
        InvalidArgument: If a condition is violated.
    """
    if prior.trusted:
        return
    _check_mode(prior)
    if prior.lanes is not None:
        prior = prior.select(torch.zeros(1, dtype=torch.int64))
    x = _smooth(_cropped(prior, shape), like)
    s = torch.tensor(_levels(prior), dtype=x.dtype, device=x.device)
    d = _estimates(prior, x, s, vjp=vjp)
    low, size = float(s[0]), _rms(x)
    away = _rms(d[0] - x)
    good = away <= SHARE * size + LEVELS * low
    if not good and _rms(d[0]) > size / 2:  # x may be unlikely under the prior;
        x = d[0]  # its estimate is not, so that it must be a fixed point
        d = _estimates(prior, x, s, vjp=False)
        good = _rms(d[0] - x) <= SHARE * _rms(x) + LEVELS * low
    expected = (
        f"D(x + s n, s) close to x at its lowest level s = {low:.3g} (is the prediction the right "
        f"one? {_SKIP})"
    )
    require(good, "prior", expected=expected, got=f"an rms of {away:.3g} between them")


def _estimates(prior: Prior, x: Tensor, s: Tensor, *, vjp: bool) -> Tensor:
    """D(x + s n, s) at both levels."""
    noisy = x + s.view(-1, *[1] * x.ndim) * Keys(0, (0,)).at(MEASURING).randn_like(x[None])
    each = list(zip(noisy.split(1), s.split(1), strict=True))  # one by one, to save memory
    try:
        if vjp:
            both = [_with_gradient(prior, *one) for one in each]
        else:
            both = [(prior(*one),) * 2 for one in each]
    except ReddiffError:
        raise
    except TROUBLE as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        what = "a vjp" if vjp and "grad" in str(error) else "an estimate"
        got = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]
        expected = f"{what} for x of shape {tuple(x.shape)} ({_SKIP})"
        raise InvalidArgument("prior", expected=expected, got=got) from error
    for (d, grad), level in zip(both, s.tolist(), strict=True):
        expected = f"estimates of shape {tuple(noisy[:1].shape)}, as x"
        require(d.shape == noisy[:1].shape, "prior", expected=expected, got=tuple(d.shape))
        for name, value in (("estimates", d), ("gradients", grad)):
            expected = f"finite {name} ({_SKIP})"
            got = f"nan or inf at the level {level:.4g}"
            require(bool(value.isfinite().all()), "prior", expected=expected, got=got)
    return torch.cat([d.detach() for d, _ in both])


def _with_gradient(prior: Prior, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    d, pullback = prior.vjp(x, s, once=True)
    return d, pullback(torch.ones_like(d))


def _check_mode(prior: Prior) -> None:
    for name, part in prior.named_modules():
        if part.training and isinstance(part, RANDOM):
            got = f"train mode, with {type(part).__name__} {name}"
            raise InvalidArgument("prior", expected=f"prior.eval() ({_SKIP})", got=got)


def _levels(prior: Prior) -> list[float]:
    return [min(max(LOW, prior.sigma_min), HIGH), min(prior.sigma_max, HIGH)]


def _cropped(prior: Prior, shape: tuple[int, ...]) -> tuple[int, ...]:
    most = SIDE if len(shape) == 3 else SMALL
    sides = zip(prior.shape, shape, strict=True)
    return tuple(min(n, most) if i and free is None else n for i, (free, n) in enumerate(sides))


def _smooth(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """A smooth x within [-0.25, 0.75]."""
    x = like.new_full(shape, 0.25)
    for axis, n in enumerate(shape):
        phase = torch.linspace(0.3, 2.7, n, dtype=like.dtype, device=like.device)
        x = x + (0.5 / len(shape)) * phase.cos().view(-1, *[1] * (len(shape) - axis - 1))
    return x


def _rms(x: Tensor) -> float:
    return float(torch.linalg.vector_norm(x.double())) / math.sqrt(x.numel())
