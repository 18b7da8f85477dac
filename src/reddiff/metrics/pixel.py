"""PSNR and SSIM."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require, require_positive

WINDOW = 11  # pixels
SIGMA = 1.5  # pixels
BAND = 128  # rows
K1, K2 = 0.01, 0.03


def psnr(x: Tensor, truth: Tensor, data_range: float = 1.0) -> Float[Tensor, " b"]:
    r"""The peak signal-to-noise ratio of each lane in dB; inf if x is the truth.

    .. math:: 10 \log_{10} \frac{R^2}{\mathrm{mean}\,(x - x_0)^2}

    Arguments:
        x: Pictures `(b, c, h, w)`.
        truth: The true pictures, of the same shape.
        data_range: R, the distance from black to white: 1 for pixels in [0, 1], 2 for [-1, 1].

    Raises:
        InvalidArgument: If the shapes differ, these are not batches of real pictures, or
            `data_range` is not positive.
    """
    check_pair(x, truth)
    require_positive("data_range", data_range)
    error = (x - truth).double().square().flatten(1).mean(1)
    return (20 * math.log10(data_range) - 10 * error.log10()).to(x.dtype)


def ssim(x: Tensor, truth: Tensor, data_range: float = 1.0) -> Float[Tensor, " b"]:
    r"""The structural similarity of each lane: at most 1, and 1 only for the truth itself.

    .. math:: \mathrm{mean}\,
        \frac{(2 m_x m_y + C_1)(2 s_{xy} + C_2)}{(m_x^2 + m_y^2 + C_1)(s_x^2 + s_y^2 + C_2)}

    with means, variances and covariance under a Gaussian window of 11x11 pixels and standard
    deviation 1.5, C_1 = (0.01 R)^2, C_2 = (0.03 R)^2. The mean is over all positions of the window
    inside the picture, and over the channels. It equals `structural_similarity` of scikit-image
    with `gaussian_weights=True, sigma=1.5, use_sample_covariance=False`.

    References:
        | Image Quality Assessment: From Error Visibility to Structural Similarity
        | (Wang et al., 2004), https://doi.org/10.1109/TIP.2003.819861

    Arguments:
        x: Pictures `(b, c, h, w)` of at least 11x11 pixels.
        truth: The true pictures, of the same shape.
        data_range: R, the distance from black to white: 1 for pixels in [0, 1], 2 for [-1, 1].

    Raises:
        InvalidArgument: If the shapes differ, these are not batches of real pictures, the pictures
            are smaller than the window, or `data_range` is not positive.
    """
    check_pair(x, truth, least=WINDOW)
    require_positive("data_range", data_range)
    # In float64, because in flat regions the variances are differences of nearly equal numbers. In
    # bands, to save memory for large pictures.
    total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for top in range(0, x.shape[2] - WINDOW + 1, BAND):
        rows = slice(top, top + BAND + WINDOW - 1)
        band = _likeness(x[:, :, rows].double(), truth[:, :, rows].double(), data_range)
        total = total + band.flatten(1).sum(1)
    places = x.shape[1] * (x.shape[2] - WINDOW + 1) * (x.shape[3] - WINDOW + 1)
    return (total / places).to(x.dtype)


def check_pair(x: Tensor, truth: Tensor, least: int = 1) -> None:
    """Raise InvalidArgument unless these are pictures and truths with sides of at least `least`."""
    shape = tuple(x.shape)
    check_pictures("x", x)
    got = f"shape {tuple(truth.shape)}"
    require(x.shape == truth.shape, "truth", expected=f"the shape of x, {shape}", got=got)
    check_pictures("truth", truth)
    h, w = shape[-2:]
    large = min(h, w) >= least
    expected = f"pictures of at least {least}x{least} pixels"
    require(large, "x", expected=expected, got=f"{w}x{h} (width x height)")


def check_pictures(name: str, x: Tensor) -> None:
    """Raise InvalidArgument unless these are batches of floating-point pictures."""
    shape = tuple(x.shape)
    pictures = x.ndim == 4 and all(shape[1:])
    require(pictures, name, expected="pictures of shape (b, c, h, w)", got=f"shape {shape}")
    real = x.is_floating_point()
    require(real, name, expected="floating-point pixels", got=x.dtype)


def _likeness(x: Tensor, y: Tensor, data_range: float) -> Tensor:
    """The SSIM at every position of the window."""
    m_x, m_y = _window(x), _window(y)
    s_x, s_y = _window(x * x) - m_x * m_x, _window(y * y) - m_y * m_y
    s_xy = _window(x * y) - m_x * m_y
    c_1, c_2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    likeness = (2 * m_x * m_y + c_1) * (2 * s_xy + c_2)
    return likeness / ((m_x * m_x + m_y * m_y + c_1) * (s_x + s_y + c_2))


def _window(x: Tensor) -> Tensor:
    """The weighted means at all positions of the window inside the picture."""
    weights = [math.exp(-((i - WINDOW // 2) ** 2) / (2 * SIGMA**2)) for i in range(WINDOW)]
    for axis in (-2, -1):  # by sums of shifted copies: an order faster than `conv2d` in float64
        size = x.shape[axis] - WINDOW + 1
        parts = [x.narrow(axis, i, size) for i in range(WINDOW)]
        y = weights[0] * parts[0]
        for weight, part in zip(weights[1:], parts[1:], strict=True):
            y.add_(part, alpha=weight)
        x = y / sum(weights)
    return x
