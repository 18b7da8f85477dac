"""Where the data ended and the prior began."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require


def measured_share(
    std: Float[Tensor, "*shape"], prior_std: Float[Tensor, "*shape2"] | float
) -> Float[Tensor, "*shape"]:
    r"""The share of each pixel's prior variance that y removed.

    .. math:: 1 - \mathrm{Var}(x \mid y) / \mathrm{Var}(x)

    Near 1 the pixel was measured; near 0 the prior drew it. From S draws it scatters by about
    sqrt(2 / (S - 1)) of the part that is left, and can be below 0; so it can for the exact
    posterior of a prior that is not Gaussian, where y may raise the variance.

    Arguments:
        std: The standard deviation of the posterior, such as `Reconstruction.std`.
        prior_std: That of the prior: in closed form, or of draws from it,
            `reddiff.sample(prior, shape, 200).std(0)`.

    Raises:
        InvalidArgument: If the shapes do not fit, or a standard deviation of the prior is not
            positive.
    """
    prior = torch.as_tensor(prior_std, dtype=std.dtype, device=std.device)
    fits = prior.ndim == 0 or std.shape[std.ndim - prior.ndim :] == prior.shape
    expected = f"a number or a tensor that fits {tuple(std.shape)}"
    require(fits, "prior_std", expected=expected, got=tuple(prior.shape))
    positive = bool((prior > 0).all())
    require(positive, "prior_std", expected="values above 0", got=float(prior.min()))
    return 1 - (std / prior) ** 2
