"""Nonlinear blur: how a place is blurred depends on the picture itself."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d, pad, unfold

from reddiff.errors import InvalidArgument, require
from reddiff.operators.base import Operator, Shape
from reddiff.operators.blur.psf import gaussian_psf, motion_psf
from reddiff.operators.shapes import check_y_shape
from reddiff.random import DRAWING, Keys

ANGLES = (0.0, 45.0, 90.0, 135.0)  # of the kernels, in degrees
HIDDEN, FEATURES = 8, 9  # of the network: channels, and pixels that each looks at
# A picture of contrast 1/2 takes most of the range of tanh, and moves more weight than the biases.
CONTRAST = 4.0
SHARPNESS = 4.0  # of the blend: the standard deviation of its logits, for x of a size about 1


class NonlinearBlur(Operator):
    r"""A blend of motion blurs that a small network chooses at every pixel, from x.

    .. math:: y = \sum_{k=0}^{K} w_k(x) \odot (h_k * x), \qquad
        w(x) = \mathrm{softmax}(c\, W_2 \tanh(W_1 * \bar x + b_1))

    with h_0 a point, the other :math:`h_k` straight motions of one length in four directions, and
    :math:`\bar x` the mean over channels, smoothed by a Gaussian. The weights :math:`W_1` (3 x 3,
    8 channels), :math:`b_1` and :math:`W_2` (1 x 1) are frozen normal numbers made from a seed.

    It stands in for the blurs of a trained network (Tran et al.), of which it keeps what makes
    the inverse problem nonlinear: the kernel varies from place to place and is unknown until x is
    known. What is added is certainty. The w sum to 1 and are positive, and so are the kernels: a
    flat picture stays as it is (the DC gain is 1 in every direction of light), and y never leaves
    the range of x. It has derivatives of every order, needs no weights file, and a seed gives the
    same operator on any machine, up to rounding. On photos, A(x) + A(-x) is half as large as the
    blur x - A(x) and more. Borders repeat the last pixel.

    Arguments:
        length: The length of the motions in pixels, positive.
        seed: Of the network: an integer of 64 bits, or with `per_lane` integers `(b,)`.
        per_lane: Whether there is a seed per lane.

    References:
        | Explore Image Deblurring via Encoded Blur Kernel Space (Tran, Tran, Phung & Hoai, 2021),
        | https://arxiv.org/abs/2104.00317: the task, with a trained network for the blur

    Raises:
        InvalidArgument: If length is not positive, or the seeds are no integers.
    """

    kernels: Tensor
    smoother: Tensor
    first: Tensor
    bias: Tensor
    second: Tensor

    def __init__(
        self, length: float = 9.0, *, seed: int | Tensor = 0, per_lane: bool = False
    ) -> None:
        super().__init__()
        good = 0 < length < float("inf")
        require(good, "length", expected="a positive number of pixels", got=length)
        self.length = length
        self.register_buffer("kernels", _bank(length), persistent=False)
        self.register_buffer("smoother", _line(length / 3), persistent=False)
        parts = _weights(_seeds(seed, per_lane))
        for name, part in zip(("first", "bias", "second"), parts, strict=True):
            self.register_buffer(name, part, persistent=False)
        self.batched = ("first", "bias", "second") if per_lane else ()

    def extra_repr(self) -> str:
        return f"{self.length:g}"

    def x_shape(self, y_shape: Shape) -> Shape:
        check_y_shape(y_shape, 3, "c, h, w")
        return y_shape

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return (self.weights(x)[:, None] * _blur(x, self.kernels)).sum(2)

    def weights(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """w(x): positive, and of sum 1 over k at every pixel."""
        h, w = x.shape[-2:]
        line = self.smoother
        smooth = _blur(_blur(x.mean(1, keepdim=True), line[None])[:, 0], line.mT[None])[:, 0]
        patches = unfold(pad(smooth, (1, 1, 1, 1), mode="replicate"), 3)
        hidden = torch.tanh(self.first.to(x.dtype) @ patches + self.bias.to(x.dtype))
        logits = self.second.to(x.dtype) @ hidden
        return logits.softmax(1).unflatten(2, (h, w))

    def initial_estimate(self, y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return y


def _blur(x: Float[Tensor, "b c h w"], kernels: Tensor) -> Float[Tensor, "b c k h w"]:
    """Every channel convolved with every kernel (k, kh, kw), the borders repeated."""
    up, left = (n // 2 for n in kernels.shape[-2:])
    planes = pad(x, (left, left, up, up), mode="replicate").flatten(0, 1)[:, None]
    flipped = kernels.flip(-2, -1)[:, None].to(x.dtype)
    return conv2d(planes, flipped).unflatten(0, x.shape[:2])


def _line(sigma: float) -> Float[Tensor, "1 side"]:
    """A Gaussian along a row."""
    return gaussian_psf(sigma).sum(0, keepdim=True)


def _bank(length: float) -> Float[Tensor, "k side side"]:
    """A point, and a motion in each direction, of one odd side."""
    kernels = [motion_psf(0.0, 0.0), *(motion_psf(length, angle) for angle in ANGLES)]
    side = max(max(k.shape) for k in kernels)
    margins = [[(side - n) // 2 for n in k.shape] for k in kernels]
    return torch.stack([pad(k, (m, m, n, n)) for k, (n, m) in zip(kernels, margins, strict=True)])


def _seeds(seed: int | Tensor, per_lane: bool) -> tuple[int, ...]:
    if not per_lane:
        integer = isinstance(seed, int)
        require(integer, "seed", expected="an integer", got=repr(seed))
        return (int(seed),)
    vector = isinstance(seed, Tensor) and seed.ndim == 1 and len(seed) > 0
    if not isinstance(seed, Tensor) or not vector or seed.is_floating_point():
        raise InvalidArgument("seed", expected="integers (b,)", got=repr(seed))
    return tuple(seed.tolist())


def _weights(seeds: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """W_1 (n, 8, 9), b_1 (n, 8, 1) and c W_2 (n, K + 1, 8) of n seeds."""
    shapes = (HIDDEN, FEATURES), (HIDDEN, 1), (len(ANGLES) + 1, HIDDEN)
    rngs = [Keys(seed, (0,)).at(DRAWING) for seed in seeds]
    first, bias, second = (
        torch.cat([rng.randn_like(torch.empty(1, *shape).double()) for rng in rngs])
        for shape in shapes
    )
    return CONTRAST / FEATURES**0.5 * first, bias / 2, SHARPNESS / HIDDEN**0.5 * second
