"""Magnetic resonance imaging (MRI): y samples the Fourier transform of a complex image."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.errors import require
from reddiff.lanes import per_lane
from reddiff.operators.base import Shape
from reddiff.operators.complex_images import fourier, inverse_fourier, join, split
from reddiff.operators.linear import LinearOperator
from reddiff.operators.shapes import check_y_shape
from reddiff.operators.spectral import SpectralOperator

LEAST_SENSITIVITY = 0.1  # relative to the largest: floor of the divisor in `initial_estimate`


class SingleCoilMRI(SpectralOperator):
    r"""Single-coil MRI, :math:`A = M F`: F is the centered orthonormal 2-D DFT, M the mask.

    x is a complex image `(b, 2, h, w)`, (Re, Im). y has the same shape, with zeros at frequencies
    that are not sampled. In the singular value decomposition, V is the inverse DFT and s the mask.

    Arguments:
        mask: `(h, w)`, 1 (or True) where a frequency is sampled, frequency 0 at (h // 2, w // 2);
            or `(b, h, w)` with `per_lane`.
        per_lane: Whether axis 0 of the mask is the lane axis.

    Raises:
        InvalidArgument: If the mask has another shape, entries other than 0 and 1, or no 1.

    References:
        | SENSE: Sensitivity Encoding for Fast MRI (Pruessmann et al., 1999)
        | fastMRI: https://arxiv.org/abs/1811.08839, Section 2
    """

    mask: Tensor

    def __init__(self, mask: Tensor, *, per_lane: bool = False) -> None:
        super().__init__()
        mask = torch.as_tensor(mask)
        form, ndim = ("(b, h, w)", 3) if per_lane else ("(h, w)", 2)
        require(mask.ndim == ndim, "mask", expected=f"shape {form}", got=tuple(mask.shape))
        self.register_buffer("mask", _binary(mask))
        self.batched = ("mask",) if per_lane else ()

    def x_shape(self, y_shape: Shape) -> Shape:
        check_y_shape(y_shape, 3, "2, h, w")
        _check_image("y", y_shape, self.mask)
        return y_shape

    def measured(self, y: Float[Tensor, "b 2 h w"]) -> Bool[Tensor, "b 2 h w"]:
        """The real and imaginary parts of the sampled frequencies."""
        return self._sampled(y).expand_as(y)

    def spectrum(self, z: Float[Tensor, "b 2 h w"]) -> Tensor:
        return self._sampled(z).to(z.dtype)

    def v(self, z: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b 2 h w"]:
        return split(inverse_fourier(join(z)))

    def vt(self, x: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b 2 h w"]:
        return split(fourier(join(x)))

    def u(self, z: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b 2 h w"]:
        return self.spectrum(z) * z

    def ut(self, y: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b 2 h w"]:
        return self.spectrum(y) * y

    def _sampled(self, x: Tensor) -> Tensor:
        _check_image("x", tuple(x.shape[1:]), self.mask)
        return self.mask.unsqueeze(-3)


class MultiCoilMRI(LinearOperator):
    r"""Parallel MRI: :math:`y_c = M F (S_c \odot x)` for coil c with sensitivity map S_c.

    x is a complex image `(b, 2, h, w)`, (Re, Im). y is `(b, coils, 2, h, w)`, with zeros at
    frequencies that are not sampled. F is the centered orthonormal 2-D DFT, M the mask. The norm of
    A is at most the maximum over pixels of the root of sum_c |S_c|^2, which is 1 for normalized
    maps.

    Arguments:
        mask: M, as for `SingleCoilMRI`; it is the same for all coils.
        maps: The sensitivities S, complex `(coils, h, w)` or real `(coils, 2, h, w)`, of the
            dtype of y; or one set per lane, `(b, coils, ...)`, with `per_lane`.
        per_lane: Whether the mask, the maps or both have a lane axis; their numbers of axes tell
            which.

    Raises:
        InvalidArgument: If mask or maps have the wrong number of axes, or differ in size or number
            of lanes; if the mask has entries other than 0 and 1, or no 1; if the maps are not
            finite or all zero.

    References:
        | SENSE: Sensitivity Encoding for Fast MRI (Pruessmann et al., 1999)
        | Advances in Sensitivity Encoding with Arbitrary k-Space Trajectories (Pruessmann et al.,
        | 2001)
    """

    mask: Tensor
    maps: Tensor

    def __init__(self, mask: Tensor, maps: Tensor, *, per_lane: bool = False) -> None:
        super().__init__()
        mask, maps = torch.as_tensor(mask), torch.as_tensor(maps)
        maps = split(maps) if maps.is_complex() else maps
        _check_maps(maps, per_lane)
        ranks, forms = ((2, 3), "(h, w) or (b, h, w)") if per_lane else ((2,), "(h, w)")
        require(mask.ndim in ranks, "mask", expected=f"shape {forms}", got=tuple(mask.shape))
        size, other = tuple(mask.shape[-2:]), tuple(maps.shape[-2:])
        require(size == other, "maps", expected=f"size {size}, as the mask", got=other)
        owners = {"mask": mask.ndim == 3, "maps": maps.ndim == 5}
        some = any(owners.values()) or not per_lane
        got = f"{tuple(mask.shape)} and {tuple(maps.shape)}"
        require(some, "per_lane", expected="a lane axis in the mask or the maps", got=got)
        alike = not all(owners.values()) or len(mask) == len(maps)
        require(alike, "maps", expected=f"{len(mask)} lanes, as the mask", got=len(maps))
        self.register_buffer("mask", _binary(mask))
        self.register_buffer("maps", maps.contiguous())
        self.batched = tuple(name for name, owns in owners.items() if owns)

    def x_shape(self, y_shape: Shape) -> Shape:
        check_y_shape(y_shape, 4, "coils, 2, h, w")
        wanted = tuple(self.maps.shape[-4:])
        require(y_shape == wanted, "y", expected=f"shape (b, *{wanted})", got=f"(b, *{y_shape})")
        return y_shape[1:]

    def measured(self, y: Float[Tensor, "b k 2 h w"]) -> Bool[Tensor, "b k 2 h w"]:
        """The real and imaginary parts of the sampled frequencies of every coil."""
        return self._sampled.unsqueeze(-3).expand_as(y)

    def forward(self, x: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b k 2 h w"]:
        _check_image("x", tuple(x.shape[1:]), self.mask)
        return split(fourier(join(self.maps) * join(x).unsqueeze(1)) * self._sampled)

    def adjoint(self, y: Float[Tensor, "b k 2 h w"]) -> Float[Tensor, "b 2 h w"]:
        """sum_c S_c^* F^-1 M y_c."""
        coils = inverse_fourier(join(y) * self._sampled)
        return split((join(self.maps).conj() * coils).sum(1))

    def initial_estimate(self, y: Float[Tensor, "b k 2 h w"]) -> Float[Tensor, "b 2 h w"]:
        """A^T y / sum_c |S_c|^2, which is A^+ y if all frequencies are sampled.

        The divisor is clipped from below to 1/100 of its maximum.
        """
        power = (self.maps**2).sum((-4, -3)).reshape(-1, 1, *self.maps.shape[-2:])
        least = LEAST_SENSITIVITY**2 * power.flatten(1).amax(1)
        return self.adjoint(y) / power.clamp(min=per_lane(least, power))

    @property
    def _sampled(self) -> Tensor:
        """The mask, `(1, h, w)` or `(b, 1, h, w)`."""
        return self.mask.unsqueeze(-3)


def _binary(mask: Tensor) -> Tensor:
    """The validated mask as booleans, which combine with a y of any dtype."""
    binary = bool(((mask == 0) | (mask == 1)).all())
    require(binary, "mask", expected="entries 0 or 1", got="others")
    kept = mask.bool().flatten(-2).any(-1)
    got = f"none kept in lanes {(~kept).nonzero().flatten().tolist()}" if kept.ndim else "none"
    require(bool(kept.all()), "mask", expected="at least one sampled frequency", got=got)
    return mask.bool()


def _check_maps(maps: Tensor, per_lane: bool) -> None:
    form = "(coils, h, w) complex or (coils, 2, h, w) real"
    form += ", optionally with a leading lane axis" if per_lane else ""
    shape = tuple(maps.shape)
    ranked = maps.ndim in ((4, 5) if per_lane else (4,))
    good = ranked and maps.is_floating_point() and shape[-3] == 2 and shape[-4] > 0
    require(good, "maps", expected=f"shape {form}", got=f"{shape}, {maps.dtype}")
    require(bool(torch.isfinite(maps).all()), "maps", expected="finite values", got="nan or inf")
    some = bool(maps.flatten(-4).any(-1).all())
    require(some, "maps", expected="at least one entry that is not zero", got="all zero")


def _check_image(name: str, shape: Shape, mask: Tensor) -> None:
    wanted = (2, *mask.shape[-2:])
    require(shape == wanted, name, expected=f"shape (b, *{wanted})", got=f"(b, *{shape})")
