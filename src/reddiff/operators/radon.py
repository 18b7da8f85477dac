"""Tomography: y holds line integrals of x."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from reddiff.errors import require, require_count, require_positive
from reddiff.operators.base import Shape
from reddiff.operators.linear import LinearOperator
from reddiff.operators.ramp_filter import Window, hann, ramp, ramp_filtered
from reddiff.operators.rays import back_project, project
from reddiff.operators.shapes import check_y_shape

# Entries in a chunk of angles, which fits the cache of a CPU or keeps a GPU busy. They are counted
# per lane, so that the order of summation does not depend on the number of lanes.
ENTRIES_CPU, ENTRIES_GPU = 2**18, 2**22
SAME = 1e-6  # radians: views closer than this count as one direction


class Radon(LinearOperator):
    r"""The parallel-beam Radon transform of square images, by Joseph's method, with exact adjoint.

    .. math:: y_{\theta r} = \int x \; \text{along the line} \;
        (j - c) \cos\theta - (i - c) \sin\theta = r - a

    for row i, column j and detector r. The axis of rotation is at row and column c of x, and is
    projected onto detector a. Joseph's method follows a line from row to row (from column to column
    if it is flatter than 45 degrees) and interpolates x linearly: with
    :math:`q = (j - c) \cos\theta - (i - c) \sin\theta` and
    :math:`m = \max(|\cos\theta|, |\sin\theta|)`, the weight of a pixel is
    :math:`\Lambda((r - a - q) / m) / m`, :math:`\Lambda(u) = \max(0, 1 - |u|)`.

    x is `(b, c, n, n)` and y is `(b, c, k, d)`. No weights are stored: a call takes O(n d k) time
    and O(n d) memory. Positions are computed in float64 unless `.to(dtype)` is called.

    Arguments:
        size: n, the side of the image, at least 1. Pad images that are not square.
        angles: k angles in degrees, counterclockwise, in any order: `(k,)`, or `(b, k)` with
            `per_lane`.
        spacing: Side of a pixel in the unit of length of y. By default the unit is one pixel, and
            the norm of A is about sqrt(n k); with 1 / n the norm is about sqrt(k / n). Results do
            not depend on the spacing as long as the noise level is given in the units of y.
        detectors: d, the number of detectors, each one pixel wide; n by default.
        center: c, in pixels from 0. By default n // 2, and a is d // 2, as in scikit-image. If it
            is given, a is c + (d - n) / 2. (n - 1) / 2 is the middle of the image, as in ASTRA,
            ODL and TIGRE.
        axis: a, the position of the axis of rotation on the detector, counted from 0, if it
            differs from the above, as in a scan whose center of rotation was calibrated.
        circle: Whether x counts as zero outside the inscribed circle around the axis, as with
            `skimage.transform.radon(..., circle=True)`. Its radius is n // 2 by default, and the
            distance to the nearest edge for another center.
        per_lane: Whether axis 0 of the angles is the lane axis.

    Raises:
        InvalidArgument: If `size` or `detectors` is not a positive integer; if the angles are
            empty, not finite or of another shape; if `spacing` is not positive and finite; if
            `center` lies outside the image; or if `axis` is not finite.

    References:
        | An Improved Algorithm for Reprojecting Rays through Pixel Images (Joseph, 1982)
        | Principles of Computerized Tomographic Imaging (Kak & Slaney, 1988), Section 3.3
    """

    angles: Tensor

    def __init__(
        self,
        size: int,
        angles: Tensor | Sequence[float],
        *,
        spacing: float = 1.0,
        detectors: int | None = None,
        center: float | None = None,
        axis: float | None = None,
        circle: bool = True,
        per_lane: bool = False,
    ) -> None:
        super().__init__()
        detectors = size if detectors is None else detectors
        require_count("size", size)
        require_count("detectors", detectors)
        require_positive("spacing", spacing)
        self.size, self.spacing, self.detectors, self.circle = size, spacing, detectors, circle
        if center is None:
            self.center = self.radius = float(size // 2)
            seen = float(detectors // 2)
        else:
            expected = f"a position in the image, from 0 to {size - 1}"
            require(0 <= center <= size - 1, "center", expected=expected, got=center)
            self.center, self.radius = float(center), min(center, size - 1 - center) + 0.5
            seen = center + (detectors - size) / 2
        self.axis = float(seen if axis is None else axis)
        require(math.isfinite(self.axis), "axis", expected="a finite number", got=axis)
        angles = torch.as_tensor(angles, dtype=torch.float64)
        form, ndim = ("(b, k)", 2) if per_lane else ("(k,)", 1)
        some = angles.ndim == ndim and angles.numel() > 0
        require(some, "angles", expected=f"shape {form}", got=tuple(angles.shape))
        bad = angles[~torch.isfinite(angles)].tolist()
        require(not bad, "angles", expected="finite numbers of degrees", got=bad[:3])
        self.register_buffer("angles", angles, persistent=False)
        self.batched = ("angles",) if per_lane else ()

    def x_shape(self, y_shape: Shape) -> Shape:
        wanted = (self.angles.shape[-1], self.detectors)
        check_y_shape(y_shape, 3, f"c, {wanted[0]}, {wanted[1]}")
        got = f"(b, c, {y_shape[1]}, {y_shape[2]})"
        expected = f"shape (b, c, {wanted[0]}, {wanted[1]}), (angles, detectors)"
        require(y_shape[1:] == wanted, "y", expected=expected, got=got)
        return y_shape[0], self.size, self.size

    def forward(self, x: Float[Tensor, "b c n n"]) -> Float[Tensor, "b c k d"]:
        n = self.size
        got = tuple(x.shape[2:])
        require(got == (n, n), "x", expected=f"images {n} x {n}", got=" x ".join(map(str, got)))
        x = self._inside(x) * x * self.spacing
        # The rows and then the columns of x, each padded with zeros for the interpolation.
        lines = pad(torch.stack([x, x.mT], 2), (1, 2))
        views = [
            project(lines, cos, sin, self.center, self.axis, self.detectors)
            for cos, sin in self._turns(x)
        ]
        return torch.cat(views, 2)

    def adjoint(self, y: Float[Tensor, "b c k d"]) -> Float[Tensor, "b c n n"]:
        return self._gather(y, shadow=True) * self.spacing

    def filtered_back_projection(
        self, y: Float[Tensor, "b c k d"], window: Window = ramp
    ) -> Float[Tensor, "b c n n"]:
        r"""Filtered back projection, the inverse of the transform in the limit of fine sampling.

        .. math:: x = \sum_\theta \Delta_\theta \, (y_\theta * h)(q), \qquad
            h_0 = \tfrac14, \quad h_r = -1 / (\pi r)^2 \text{ for odd r}, \quad 0 \text{ otherwise}

        with linear interpolation. :math:`\Delta_\theta` is half the sum of the gaps to the two
        neighboring angles, modulo 180 degrees: :math:`\pi / k` for k angles evenly spaced over 180
        or 360 degrees. Gaps are clipped to twice the median gap, for limited-angle scans.

        Arguments:
            y: Line integrals, in the units of `forward`.
            window: Factor on the ramp filter, a function of frequencies from 0 to 1/2 cycles per
                detector: `ramp` (1 everywhere), `hann`, or your own.

        References:
            | Principles of Computerized Tomographic Imaging (Kak & Slaney, 1988), Equation 3.61
        """
        filtered = ramp_filtered(y, window)
        weighted = filtered * self._gaps().to(y)[:, None, :, None] / self.spacing
        return self._gather(weighted, shadow=False)

    def initial_estimate(self, y: Float[Tensor, "b c k d"]) -> Float[Tensor, "b c n n"]:
        """Filtered back projection with a Hann window."""
        return self.filtered_back_projection(y, hann)

    def _gather(self, y: Tensor, *, shadow: bool) -> Tensor:
        r"""The sum of :math:`y \, \Lambda((r - a - q) / m) / m`, with m = 1 unless `shadow`."""
        x = y.new_zeros(*y.shape[:2], self.size, self.size)
        done = 0
        for cos, sin in self._turns(y):
            part = y[:, :, done : done + cos.shape[1]]
            width = torch.maximum(cos.abs(), sin.abs()) if shadow else torch.ones_like(cos)
            x = x + back_project(part, cos, sin, width, self.center, self.axis, self.size)
            done += cos.shape[1]
        return self._inside(y) * x

    def _turns(self, like: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Cosines and sines `(1 or b, j)` of the angles, in chunks of j angles."""
        turn = torch.deg2rad(self.angles).reshape(-1, self.angles.shape[-1])
        entries = ENTRIES_CPU if like.device.type == "cpu" else ENTRIES_GPU
        at_once = max(1, entries // (like.shape[1] * self.size * max(self.size, self.detectors)))
        for part in turn.split(at_once, 1):
            yield part.cos(), part.sin()

    def _inside(self, like: Tensor) -> Tensor:
        """1 inside the circle, 0 outside."""
        if not self.circle:
            return like.new_ones(self.size, self.size)
        place = torch.arange(self.size, device=like.device, dtype=torch.float64) - self.center
        return (place[:, None] ** 2 + place**2 <= self.radius**2 + 1e-9).to(like.dtype)

    def _gaps(self) -> Tensor:
        """Quadrature weights `(1 or b, k)` of the angles for integrals over 180 degrees, radians.

        Opposite views count as one direction and share its weight.
        """
        turn = torch.deg2rad(self.angles).reshape(-1, self.angles.shape[-1])
        turn, order = turn.remainder(math.pi).sort(1)
        gaps = torch.cat([turn[:, 1:], turn[:, :1] + math.pi], 1) - turn
        apart = torch.where(gaps > SAME, gaps, torch.nan).nanmedian(1, keepdim=True).values
        gaps = torch.minimum(gaps, 2 * apart)
        return torch.zeros_like(gaps).scatter(1, order, (gaps + gaps.roll(1, 1)) / 2)
