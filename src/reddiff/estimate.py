"""How noisy a picture is, from the picture alone."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import conv2d

_MAD = 0.6744897501960817  # the median of |n| for standard normal n
_ENOUGH = 100  # coefficients, for a median
# High-pass filters of unit norm: Daubechies' with two vanishing moments, and Haar's.
_DB2 = (-0.48296291314469025, 0.8365163037378079, -0.2241438680420134, -0.12940952255126037)
_HAAR = (-0.7071067811865476, 0.7071067811865476)


def noise_level(
    y: Float[Tensor, "b c h w"], measured: Bool[Tensor, "b c h w"] | None = None
) -> Float[Tensor, " b"]:
    r"""The standard deviation of white Gaussian noise in images, in their own units.

    The median of the absolute diagonal wavelet coefficients over 0.6745: edges are few among
    them, so the median sees the noise. Fine texture counts as noise, so this leans to the high
    side. The wavelet is Daubechies' second, or Haar's where too few of its windows are measured.

    Arguments:
        y: The images.
        measured: Which entries count; a coefficient does if all pixels of its window do.

    Returns:
        One level per lane; zero where there is too little to measure.

    References:
        | Ideal Spatial Adaptation by Wavelet Shrinkage (Donoho & Johnstone, 1994), Section 4.4
    """
    known = torch.ones_like(y, dtype=torch.bool) if measured is None else measured
    pairs = zip(y[:, :, None], known[:, :, None], strict=True)
    return torch.stack([_level(lane, mask) for lane, mask in pairs])


def _level(y: Float[Tensor, "c 1 h w"], known: Bool[Tensor, "c 1 h w"]) -> Float[Tensor, ""]:
    clean = torch.where(known, y, 0)
    for taps in (_DB2, _HAAR):
        if min(y.shape[-2:]) < len(taps):
            continue
        line = torch.tensor(taps, dtype=y.dtype, device=y.device)
        window = torch.ones_like(line).outer(torch.ones_like(line))
        detail = conv2d(clean, line.outer(line)[None, None], stride=2).abs()
        whole = conv2d((~known).to(y.dtype), window[None, None], stride=2) == 0
        if int(whole.sum()) >= _ENOUGH or len(taps) == len(_HAAR):
            return detail[whole].median() / _MAD if whole.any() else y.new_zeros(())
    return y.new_zeros(())
