r"""What the realism r in [0, 1] of `NoiseAwareREDDiff` sets: noise, momentum, weight of the prior.

**Realism** is the share of the posterior's variance that the iterates carry. They follow
Langevin dynamics with momentum :math:`\beta` and noise :math:`\rho s`; in directions that y leaves
open their stationary variance is :math:`\rho^2 (1 + a) / 2 (1 - \beta)` of the posterior's. At
1 the last iterate is a draw; at 0, without noise, the posterior mean of a Gaussian prior. A
network wants :math:`\rho = 1`, so that its input has the level it is given: r of 1/2 and more.
Its answer is then close to a mean, and sharper with larger r.

**Noise that is kept.** For r above 1/2 and a prior that is not Gaussian,
:math:`\varepsilon = a\,\hat\varepsilon + \sqrt{1 - a^2}\,n` with n white. Here
:math:`\hat\varepsilon = \varepsilon + (w - \mu) / s`, of the step before, is the noise that its
z had if :math:`\mu` is right, without the move towards y. With :math:`a = (s / s')^2` from
level s' to s and no momentum this would be the ancestral rule of DDPM;
:math:`a = u (2 r - 1) (s / s')^4`, where :math:`(s / s')^4` counts as 1/2 at most, forgets the
errors of the data step sooner.

**A prior that is not Gaussian.** Its :math:`\eta` (`Prior.gaussianity`) is the variance of its
error as a part of what a Gaussian prior with the same covariance of x would leave: about 0.55 for
photos, and 1 for Gaussian priors and those whose error was not measured, for which
:math:`\lambda = 1` and :math:`\omega = 0`. Otherwise, with :math:`u = 5 (1 - \eta) / 2`, at most 1,

- without noise the answer is a mode of the posterior of x at the level s, and too smooth where
  A damps x: the weight of the prior is :math:`\lambda = \eta^{3/2}` at r = 0;
- what the denoiser took away stays in play, as the dual variable of ADMM: at r = 0,
  :math:`\omega = u \lambda`, and the momentum is smaller by the factor :math:`1 - u`;
- y corrects D as far as D errs: with :math:`C_s` the covariance of its error
  (`Prior.error_covariance`), P is multiplied by :math:`(1 - u) I + u\,C_s / s^2`.

In the first half of the steps :math:`\rho` is 1 for such a prior, whatever r: noise finds what
fits into large holes. From r = 0 to 1/2, :math:`\lambda` rises to 1 and :math:`\omega` falls
to 0. All this is for linear A and Gaussian noise. The exponents were chosen on photos
(docs/research/noise-aware.md).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

REALISM = 0.65  # the lab book has the curve (docs/research/noise-aware.md)
EXPONENT = 1.5  # of eta in lambda at r = 0
MOST_KEPT = 0.5  # of (s / s')^4, for many or equal levels


def momentum_of(r: float) -> float:
    r""":math:`\beta`, where no noise is kept from the step before."""
    return 1 - 1 / (2 * r) if r > 0.5 else 0.8 * (1 - 2 * r)


def noise_scale_of(r: float) -> float:
    r""":math:`\rho` of late steps: :math:`\rho^2 / 2 (1 - \beta) = r`."""
    return min(1.0, (2 * r * (1 - momentum_of(r))) ** 0.5)


def early_noise_scale(r: float, u: Tensor, early: Bool[Tensor, " b"]) -> Float[Tensor, " b"]:
    r""":math:`\rho`, larger in the first half of the steps."""
    least = torch.where(early.to(u.device), (2 * u).clamp(max=1), 0)
    return least.clamp(min=noise_scale_of(r))


def prior_weight(r: float, eta: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    r""":math:`\lambda`."""
    least = eta**EXPONENT
    return least + min(2 * r, 1) * (1 - least)


def dual_share(r: float, u: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    r""":math:`\omega / \lambda`."""
    return max(0.0, 1 - 2 * r) * u


def kept_share(r: float, u: Float[Tensor, " b"], ratio: Tensor) -> Float[Tensor, " b"]:
    r"""a, the share of the noise of the step before; `ratio` is :math:`s / s'`."""
    return max(0.0, 2 * r - 1) * u * ratio.square().square().clamp(max=MOST_KEPT)
