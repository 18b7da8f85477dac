"""Phase retrieval: y is the modulus of a Fourier transform of x."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.fft import fft2, ifft2
from torch.nn.functional import pad

from reddiff.errors import require
from reddiff.operators.base import Operator, Shape, check_y_shape
from reddiff.operators.fourier import join, split
from reddiff.random import DRAWING, Keys

SPECTRAL, PROJECTIONS = 50, 30  # iterations of `initial_estimate`
TRIMMED = 3.0  # moduli count up to this times their rms: Candes et al., Section 2.3


class Modulus(Operator):
    r""":math:`A(x) = |L x|` for a linear map L of full rank, from images to complex waves.

    Each channel of x `(b, c, h, w)` is an image of its own, and x and -x have the same y; with
    `complex_x`, x `(b, 2, h, w)` is one complex image (Re, Im), known up to a phase, and c is 1 in
    the waves. The derivative of the modulus is taken to be 0 where a wave is.

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
        """(L^* L)^-1 L^* waves: the complex images that fit them best."""

    @abstractmethod
    def size(self, y_shape: Shape) -> Shape:
        """(h, w) of an image whose moduli have this shape `(c, ...)`; checks it."""

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
        r"""A spectral start, then alternating projections.

        The power method on :math:`L^+ \mathrm{diag}(\min(y, 3\,\mathrm{rms})^2) L` from fixed
        noise, then :math:`x \leftarrow L^+ (y \, L x / |L x|)`.

        References:
            | Phase Retrieval via Wirtinger Flow (Candes, Li & Soltanolkotabi, 2015), Algorithm 1
            | A Practical Algorithm for the Determination of Phase (Gerchberg & Saxton, 1972)
        """
        size = self.size(tuple(y.shape[1:]))
        y = y.clamp(min=0)  # noise makes small moduli negative
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


class PhaseRetrieval(Modulus):
    r"""Fourier phase retrieval: :math:`y = |F P x|`.

    P appends zeros, F is the orthonormal 2-D DFT with frequency 0 first: ||A|| is 1. y is
    `(b, c, H, W)`, H and W being h and w times the oversampling, rounded. x, -x and both turned by
    180 degrees have the same y, and so have shifts of an x with an empty border: restarts,
    `solve(..., runs=8).best`, find one of them, if they find any.

    Arguments:
        oversampling: The side of y over that of x, 1 or more. From 2 on y determines the
            autocorrelation of x, and with it nearly every x but for these ambiguities.
        complex_x: See `Modulus`.

    Raises:
        InvalidArgument: If the oversampling is less than 1 or not finite.

    References:
        | Phase Retrieval Algorithms: A Comparison (Fienup, 1982)
        | DPS: https://arxiv.org/abs/2209.14687, Section 4 (as a task for diffusion priors)
    """

    def __init__(self, oversampling: float = 2.0, *, complex_x: bool = False) -> None:
        super().__init__(complex_x=complex_x)
        good = math.isfinite(oversampling) and oversampling >= 1
        require(good, "oversampling", expected="a finite number of 1 or more", got=oversampling)
        self.oversampling = oversampling

    def size(self, y_shape: Shape) -> Shape:
        """The sides that are this shape when oversampled."""
        check_y_shape(y_shape, 3, "c, h, w")
        size = tuple(round(n / self.oversampling) for n in y_shape[1:])
        nearest = tuple(self._padded(max(n, 1)) for n in size)
        expected = f"sides {self.oversampling} times those of an image, such as {nearest}"
        require(nearest == y_shape[1:], "y", expected=expected, got=y_shape[1:])
        return size

    def waves(self, x: Tensor) -> Complex[Tensor, "b c H W"]:
        h, w = x.shape[-2:]
        return fft2(pad(x, (0, self._padded(w) - w, 0, self._padded(h) - h)), norm="ortho")

    def invert(self, waves: Complex[Tensor, "b c H W"]) -> Complex[Tensor, "b c h w"]:
        h, w = self.size(tuple(waves.shape[1:]))
        return ifft2(waves, norm="ortho")[..., :h, :w]

    def _padded(self, side: int) -> int:
        return math.floor(self.oversampling * side + 0.5)


class CodedDiffraction(Modulus):
    r"""Coded diffraction patterns: :math:`y_l = |F (m_l \odot x)|` for every code :math:`m_l`.

    F is the orthonormal 2-D DFT with frequency 0 first. x is `(b, c, h, w)` and y is
    `(b, c, codes, h, w)`. ||A|| is the root of the largest sum of :math:`|m_l|^2` over the codes.

    Arguments:
        codes: Complex `(codes, h, w)` or real `(codes, 2, h, w)` (Re, Im), of the dtype of y; or
            one set per lane, `(b, codes, ...)`, with `per_lane`.
        per_lane: Whether axis 0 of the codes numbers lanes.
        complex_x: See `Modulus`.

    Raises:
        InvalidArgument: If the codes have another rank, are not finite, or all leave a pixel dark.

    References:
        | Phase Retrieval from Coded Diffraction Patterns (Candes, Li & Soltanolkotabi, 2015)
    """

    codes: Tensor

    def __init__(self, codes: Tensor, *, per_lane: bool = False, complex_x: bool = False) -> None:
        super().__init__(complex_x=complex_x)
        codes = torch.as_tensor(codes)
        got = f"{tuple(codes.shape)}, {codes.dtype}"
        codes = split(codes) if codes.is_complex() else codes
        form = "(codes, h, w) complex or (codes, 2, h, w) real"
        form = f"(b, codes, ...), {form} per lane" if per_lane else form
        ranked = codes.ndim == (5 if per_lane else 4) and codes.shape[-3] == 2
        good = ranked and codes.numel() > 0 and codes.is_floating_point()
        require(good, "codes", expected=f"shape {form}", got=got)
        finite = bool(torch.isfinite(codes).all())
        require(finite, "codes", expected="finite values", got="nan or inf")
        dark = int((~codes.any(-3).any(-3)).sum())
        got = f"{dark} pixels that all codes hide"
        require(dark == 0, "codes", expected="a code that shows it, for every pixel", got=got)
        self.register_buffer("codes", codes.contiguous())
        self.batched = ("codes",) if per_lane else ()

    def size(self, y_shape: Shape) -> Shape:
        check_y_shape(y_shape, 4, "c, codes, h, w")
        count, _, h, w = self.codes.shape[-4:]
        expected = f"shape (b, c, {count}, {h}, {w})"
        got = f"(b, {', '.join(map(str, y_shape))})"
        require(y_shape[1:] == (count, h, w), "y", expected=expected, got=got)
        return h, w

    def waves(self, x: Tensor) -> Complex[Tensor, "b c k h w"]:
        wanted, got = tuple(self.codes.shape[-2:]), tuple(x.shape[-2:])
        require(got == wanted, "x", expected=f"size {wanted}, as the codes", got=got)
        return fft2(self._filters * x.unsqueeze(-3), norm="ortho")

    def invert(self, waves: Complex[Tensor, "b c k h w"]) -> Complex[Tensor, "b c h w"]:
        """The mean of F^-1 y_l / m_l, weighted with |m_l|^2."""
        filters = self._filters
        total = (filters.conj() * ifft2(waves, norm="ortho")).sum(-3)
        return total / (filters.real**2 + filters.imag**2).sum(-3)

    @property
    def _filters(self) -> Tensor:
        """The codes, (1 or b, 1, codes, h, w)."""
        return join(self.codes).reshape(-1, 1, *self.codes.shape[-4:-3], *self.codes.shape[-2:])
