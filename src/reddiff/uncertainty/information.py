"""The share of information from the data, per pixel."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require
from reddiff.priors.base import Prior


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
        prior_std: The standard deviation of the prior: `prior_std(prior, x)`, in closed form, or
            from draws such as `reddiff.sample(prior, shape, 200).std(0)`.

    Raises:
        InvalidArgument: If the shapes do not fit, or if a standard deviation of the prior is not
            positive.
    """
    prior = torch.as_tensor(prior_std, dtype=std.dtype, device=std.device)
    ends = std.shape[max(0, std.ndim - prior.ndim) :]
    fits = prior.ndim <= std.ndim
    fits = fits and all(n in (1, m) for n, m in zip(prior.shape, ends, strict=True))
    expected = f"a number or a tensor that fits {tuple(std.shape)}"
    require(fits, "prior_std", expected=expected, got=tuple(prior.shape))
    positive = bool((prior > 0).all())
    require(positive, "prior_std", expected="values above 0", got=float(prior.min()))
    return 1 - (std / prior) ** 2


def prior_std(prior: Prior, like: Float[Tensor, "c h w"]) -> Float[Tensor, "c 1 1"] | None:
    """The standard deviation of a pixel under a prior of pictures whose error was measured.

    That of each channel, from the error of the denoiser on pictures at the highest level, where it
    knows nothing of x. None if `Prior.errors` is.

    Arguments:
        prior: The prior.
        like: A tensor of the shape, dtype and device of one x.
    """
    if prior.errors is None:
        return None
    channels = torch.arange(len(like))
    points = like.new_zeros(len(like), *like.shape)
    points[channels, channels, 0, 0] = 1
    spread = prior.data_covariance(points)(points)  # the model is the same at every pixel
    return spread[channels, channels, 0, 0].sqrt()[:, None, None]
