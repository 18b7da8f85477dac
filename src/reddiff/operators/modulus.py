"""The modulus of a linear map, as in phase retrieval, and an initial estimate from it."""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from reddiff.errors import require
from reddiff.operators.base import Operator, Shape
from reddiff.operators.complex_images import join, split
from reddiff.random import DRAWING, Keys

SPECTRAL, PROJECTIONS = 50, 30  # iterations of `initial_estimate`
TRIMMED = 3.0  # moduli are clipped to this times their rms: Candes et al., Section 2.3


class Modulus(Operator):
    r""":math:`A(x) = |L x|` for a linear map L of full rank, from images to complex wave fields.

    Each channel of x `(b, c, h, w)` is a separate image, determined up to its sign. With
    `complex_x`, x `(b, 2, h, w)` is one complex image (Re, Im), determined up to a global phase,
    and y has one channel. The derivative of the modulus at 0 is defined as 0.

    A subclass implements `waves`, `invert` and `size`.

    Arguments:
        complex_x: Whether x is one complex image.
    """

    def __init__(self, *, complex_x: bool = False) -> None:
        super().__init__()
        self.complex_x = complex_x

    @abstractmethod
    def waves(self, x: Tensor) -> Complex[Tensor, "b c *m"]:
        """L x of images `(b, c, h, w)`, real or complex."""

    @abstractmethod
    def invert(self, waves: Complex[Tensor, "b c *m"]) -> Complex[Tensor, "b c h w"]:
        """(L^* L)^-1 L^* waves, the least-squares complex images."""

    @abstractmethod
    def size(self, y_shape: Shape) -> Shape:
        """(h, w) of an image whose moduli have shape `y_shape`, `(c, ...)`, after validating it."""

    def x_shape(self, y_shape: Shape) -> Shape:
        """(c, h, w), or (2, h, w) for a complex x."""
        size = self.size(y_shape)
        single = y_shape[0] == 1 or not self.complex_x
        got = f"(b, {', '.join(map(str, y_shape))})"
        require(single, "y", expected="shape (b, 1, ...), for one complex image", got=got)
        return (2 if self.complex_x else y_shape[0]), *size

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k *m"]:
        pair = x.shape[1] == 2 or not self.complex_x
        require(pair, "x", expected="shape (b, 2, h, w), (Re, Im)", got=tuple(x.shape))
        return self.waves(join(x).unsqueeze(1) if self.complex_x else x).abs()

    def initial_estimate(self, y: Float[Tensor, "b k *m"]) -> Float[Tensor, "b c h w"]:
        r"""Spectral initialization followed by alternating projections.

        First the power method on :math:`L^+ \mathrm{diag}(\min(y, 3\,\mathrm{rms})^2) L`, started
        from noise with a fixed seed; then :math:`x \leftarrow L^+ (y \, L x / |L x|)`.

        References:
            | Phase Retrieval via Wirtinger Flow (Candes, Li & Soltanolkotabi, 2015), Algorithm 1
            | A Practical Algorithm for the Determination of Phase (Gerchberg & Saxton, 1972)
        """
        size = self.size(tuple(y.shape[1:]))
        y = y.clamp(min=0)  # with noise, small moduli can be negative
        tiny = torch.finfo(y.dtype).tiny
        every = tuple(range(2, y.ndim))
        scaled = y / y.amax(every, keepdim=True).clamp(min=tiny)
        rms = (scaled**2).mean(every, keepdim=True).sqrt()
        power = torch.minimum(scaled, TRIMMED * rms) ** 2
        noise = y.new_zeros(*y.shape[:2], 2 if self.complex_x else 1, *size)
        noise = Keys(0, (0,) * len(y)).at(DRAWING).randn_like(noise)
        x = join(noise) if self.complex_x else noise.squeeze(2)
        for _ in range(SPECTRAL):
            x = self._image(self.invert(power * self.waves(x)))
            x = x / torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True).clamp(min=tiny)
        for _ in range(PROJECTIONS):
            x = self._image(self.invert(y * self.waves(x).sgn()))
        return split(x.squeeze(1)) if self.complex_x else x

    def _image(self, z: Tensor) -> Tensor:
        return z if self.complex_x else z.real
