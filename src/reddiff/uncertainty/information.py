"""The share of information from the data, per pixel."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require


def measured_share(
    std: Float[Tensor, "*shape"], prior_std: Float[Tensor, "*shape2"] | float
) -> Float[Tensor, "*shape"]:
    r"""The fraction of the prior variance of each pixel that the measurement removed.

    .. math:: 1 - \mathrm{Var}(x \mid y) / \mathrm{Var}(x)

    Near 1 the pixel is determined by the measurement, near 0 by the prior. For a `std` estimated
    from S draws, one minus the result has a relative error of about sqrt(2 / (S - 1)), so that the
    result can be negative. For non-Gaussian priors it can also be negative for the exact posterior,
    because a measurement can increase the variance.

    Arguments:
        std: The standard deviation of the posterior, such as `Reconstruction.std`.
        prior_std: The standard deviation of the prior, in closed form or from draws such as
            `reddiff.sample(prior, shape, 200).std(0)`.

    Raises:
        InvalidArgument: If the shapes do not fit, or if a standard deviation of the prior is not
            positive.
    """
    prior = torch.as_tensor(prior_std, dtype=std.dtype, device=std.device)
    fits = prior.ndim == 0 or std.shape[std.ndim - prior.ndim :] == prior.shape
    expected = f"a number or a tensor that fits {tuple(std.shape)}"
    require(fits, "prior_std", expected=expected, got=tuple(prior.shape))
    positive = bool((prior > 0).all())
    require(positive, "prior_std", expected="values above 0", got=float(prior.min()))
    return 1 - (std / prior) ** 2
