r"""The parameters of `NoiseAwareREDDiff` that follow from its realism r in [0, 1].

**Realism** is the fraction of the posterior variance that the iterates have; it trades distortion
for perceptual quality. The iterates follow Langevin dynamics with momentum :math:`\beta` and noise
:math:`\rho s`. In directions that y does not determine, their stationary variance is
:math:`\rho^2 (1 + a) / (2 (1 - \beta))` times that of the posterior. At r = 1 the last iterate is
a draw; at r = 0, without noise, it is the posterior mean of a Gaussian prior. A network needs
:math:`\rho = 1`, so that its input has the stated noise level: this holds for r of 1/2 and more.
Its result is then close to a mean, and sharper for larger r.

**Reused noise.** For r above 1/2 and a non-Gaussian prior,
:math:`\varepsilon = a\,\hat\varepsilon + \sqrt{1 - a^2}\,n` with white noise n. Here
:math:`\hat\varepsilon = \varepsilon + (w - \mu) / s`, from the step before, is the noise that its
z contained if :math:`\mu` is correct, without the data step. With :math:`a = (s / s')^2` from
level s' to s and no momentum, this would be the ancestral rule of DDPM. The choice
:math:`a = u (2 r - 1) (s / s')^4`, with :math:`(s / s')^4` limited to 1/2, forgets errors of the
data step sooner.

**Draws.** At r = 1 and u = 0, three changes give draws the variance of a Gaussian posterior:

- Momentum delays noise, and while levels fall, delayed noise is damped less: with
  :math:`\beta = 1/2` the variance is 7 % too large where :math:`q = s / s'` is 0.86. Therefore
  :math:`\beta` is reduced by :math:`(1 - q) q^{3/2} / 4`. This approximates, within 0.005 for q
  above 0.7, the value at which directions that y does not determine end with the prior variance.
- Coordinates with more noise than s take the data step once, before the denoiser. With a second one
  after it, they would have as little as half of the variance while s is above the lowest noise.
- The last level is at most 1/24 of the noise, so that measured directions have the right spread.

**Non-Gaussian priors.** :math:`\eta` (`Prior.gaussianity`) is the error variance of the prior,
relative to that of a Gaussian prior with the same covariance of x. It is about 0.55 for photos. It
is 1 for Gaussian priors and for priors whose error was not measured; then :math:`\lambda = 1` and
:math:`\omega = 0`. Otherwise, with :math:`u = \min(1, 5 (1 - \eta) / 2)`:

- Without noise, the result is a mode of the posterior of x at level s, which is too smooth where
  A attenuates x. Therefore the weight of the prior is :math:`\lambda = \eta^{3/2}` at r = 0.
- The difference between input and output of the denoiser is kept as the dual variable of ADMM: at
  r = 0, :math:`\omega = u \lambda`, and the momentum is reduced by the factor :math:`1 - u`.
- The data step after the denoiser takes the covariance :math:`C_s` of its error
  (`Prior.error_covariance`) into account: P is multiplied by :math:`(1 - u) I + u\,C_s / s^2`.

For such a prior :math:`\rho` is 1 in the first half of the steps, for any r: noise helps to find
plausible content for large holes. From r = 0 to 1/2, :math:`\lambda` rises to 1 and
:math:`\omega` falls to 0. All this applies to linear A and Gaussian noise. The exponents were
chosen on photos (docs/research/noise-aware.md).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

REALISM = 0.65  # default; measured as a function of r in docs/research/noise-aware.md
EXPONENT = 1.5  # lambda = eta^EXPONENT at r = 0
MOST_KEPT = 0.5  # upper limit of (s / s')^4, reached for many or equal levels


def momentum_of(r: float) -> float:
    r""":math:`\beta`, if no noise of the step before is reused."""
    return 1 - 1 / (2 * r) if r > 0.5 else 0.8 * (1 - 2 * r)


def noise_scale_of(r: float) -> float:
    r""":math:`\rho` in the second half of the steps, from :math:`\rho^2 / (2 (1 - \beta)) = r`."""
    return min(1.0, (2 * r * (1 - momentum_of(r))) ** 0.5)


def early_noise_scale(r: float, u: Tensor, early: Bool[Tensor, " b"]) -> Float[Tensor, " b"]:
    r""":math:`\rho`, which for non-Gaussian priors is larger in the first half of the steps."""
    least = torch.where(early.to(u.device), (2 * u).clamp(max=1), 0)
    return least.clamp(min=noise_scale_of(r))


def prior_weight(r: float, eta: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    r""":math:`\lambda`, the weight of the prior."""
    least = eta**EXPONENT
    return least + min(2 * r, 1) * (1 - least)


def dual_share(r: float, u: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    r""":math:`\omega / \lambda`, the share of the dual variable."""
    return max(0.0, 1 - 2 * r) * u


def inertia(
    r: float, u: Float[Tensor, " b"], ratio: Float[Tensor, " b"], *, later: Bool[Tensor, " b"]
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    r"""a, the share of reused noise, and :math:`\beta`.

    Arguments:
        r: The realism.
        u: The deviation of the prior from a Gaussian.
        ratio: :math:`s / s'`, with s' the level before.
        later: Whether it is not the first step.
    """
    kept = max(0.0, 2 * r - 1) * u * ratio.square().square().clamp(max=MOST_KEPT)
    kept = torch.where(later, kept, 0)
    beta = momentum_of(r) - kept / max(2 * r, 1)
    if r == 1:
        beta = beta - torch.where(u == 0, (1 - ratio) * ratio**1.5 / 4, 0)
    return kept, beta
