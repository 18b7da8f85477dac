"""A nonlinear blur, whose kernel at each pixel depends on the image."""

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

ANGLES = (0.0, 45.0, 90.0, 135.0)  # directions of the motion kernels, in degrees
HIDDEN, FEATURES = 8, 9  # hidden channels of the network; entries of its 3 x 3 input patches
# Chosen so that an image of contrast 1/2 uses most of the range of tanh and has more effect on the
# weights than the biases have.
CONTRAST = 4.0
SHARPNESS = 4.0  # standard deviation of the logits for |x| of about 1


class NonlinearBlur(Operator):
    r"""A mixture of motion blurs, with weights that a small network computes from x at each pixel.

    .. math:: y = \sum_{k=0}^{K} w_k(x) \odot (h_k * x), \qquad
        w(x) = \mathrm{softmax}(c\, W_2 \tanh(W_1 * \bar x + b_1))

    Here :math:`h_0` is a delta function, the other :math:`h_k` are straight motions of one length
    in four directions, and :math:`\bar x` is the mean over channels, smoothed by a Gaussian. The
    network parameters :math:`W_1` (3 x 3, 8 channels), :math:`b_1` and :math:`W_2` (1 x 1) are
    normal random numbers drawn from the seed. At the border, the edge pixels are repeated.

    It replaces the blur of Tran et al., which is a trained network. Like theirs, it is nonlinear:
    the kernel varies over the image and is unknown until x is known. On photos, A(x) + A(-x) is at
    least half as large as the blur x - A(x). Unlike theirs, it needs no file of weights and has
    derivatives of every order. Its weights and kernels are positive and sum to 1, so that a
    constant image is unchanged and y stays within the range of x. A seed gives the same operator on
    any machine, up to rounding.

    Arguments:
        length: The length of the motions in pixels, positive.
        seed: Random seed, a 64-bit integer; with `per_lane`, integers `(b,)`.
        per_lane: Whether there is a seed per lane.

    References:
        | Explore Image Deblurring via Encoded Blur Kernel Space (Tran, Tran, Phung & Hoai, 2021),
        | https://arxiv.org/abs/2104.00317: the task, with a trained network for the blur

    Raises:
        InvalidArgument: If `length` is not positive and finite, or a seed is not an integer.
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
        """The mixture weights w(x), positive, with sum 1 over k at every pixel."""
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
    """Every channel convolved with every kernel `(k, kh, kw)`; edge pixels are repeated."""
    up, left = (n // 2 for n in kernels.shape[-2:])
    planes = pad(x, (left, left, up, up), mode="replicate").flatten(0, 1)[:, None]
    flipped = kernels.flip(-2, -1)[:, None].to(x.dtype)
    return conv2d(planes, flipped).unflatten(0, x.shape[:2])


def _line(sigma: float) -> Float[Tensor, "1 side"]:
    """A normalized 1-D Gaussian."""
    return gaussian_psf(sigma).sum(0, keepdim=True)


def _bank(length: float) -> Float[Tensor, "k side side"]:
    """The delta function and a motion kernel per direction, padded to one odd size."""
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
    """W_1 `(n, 8, 9)`, b_1 `(n, 8, 1)` and c W_2 `(n, K + 1, 8)` for n seeds."""
    shapes = (HIDDEN, FEATURES), (HIDDEN, 1), (len(ANGLES) + 1, HIDDEN)
    rngs = [Keys(seed, (0,)).at(DRAWING) for seed in seeds]
    first, bias, second = (
        torch.cat([rng.randn_like(torch.empty(1, *shape).double()) for rng in rngs])
        for shape in shapes
    )
    return CONTRAST / FEATURES**0.5 * first, bias / 2, SHARPNESS / HIDDEN**0.5 * second
