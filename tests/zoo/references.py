"""A(x) by other code: NumPy, SciPy and Pillow, from (x, operator) as arrays `(b, ...)`.

The second argument is used only for what an operator draws from a seed of its own.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import scipy.fft
import scipy.linalg
import scipy.ndimage
import scipy.special
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from reddiff.operators import BayerPattern, Boundary, Operator, gaussian_psf, motion_psf

Array = NDArray[Any]
Reference = Callable[[Array, Operator], Array]

SCIPY = {
    Boundary.CIRCULAR: "wrap",
    Boundary.REFLECT: "reflect",
    Boundary.MIRROR: "mirror",
    Boundary.REPLICATE: "nearest",
    Boundary.ZERO: "constant",
}


def plain(tensor: Tensor) -> Array:
    """Any tensor as an array, float64."""
    return np.asarray(tensor, dtype=float)


def flat_concatenation(*parts: Array) -> Array:
    """Several measurements of each lane as one vector."""
    return np.concatenate([part.reshape(len(part), -1) for part in parts], 1)


def same(x: Array, _: Operator) -> Array:
    return x


def times(factor: Callable[[int], Tensor]) -> Reference:
    """Factors of a number of lanes, aligned with the last axes of x."""
    return lambda x, _: np.asarray(factor(len(x))) * x


def block_mean(x: Array, rows: int, columns: int | None = None) -> Array:
    """The means of blocks of `rows` x `columns` pixels, by default square."""
    (b, c, h, w), columns = x.shape, columns or rows
    return x.reshape(b, c, h // rows, rows, w // columns, columns).mean((3, 5))


def planes(x: Array, function: Callable[[Array, int], Array]) -> Array:
    """A function of (plane, lane), applied to every channel of every lane."""
    return np.stack([np.stack([function(plane, i) for plane in one]) for i, one in enumerate(x)])


def pillow(factor: int, window: Image.Resampling) -> Reference:
    """Resized by Pillow, in float32."""

    def one(plane: Array, _: int) -> Array:
        height, width = plane.shape
        picture = Image.fromarray(plane.astype(np.float32))
        return np.asarray(picture.resize((width // factor, height // factor), window))

    return lambda x, _: planes(x, one).astype(float)


def shifted_bicubic(x: Array, factor: int, shift: float) -> Array:
    """By two dense matrices, row by row from the formula of Keys."""

    def weight(u: float) -> float:
        near, far = (1.5 * u - 2.5) * u**2 + 1, ((2.5 - 0.5 * u) * u - 4) * u + 2
        return near if u < 1 else far if u < 2 else 0.0

    def matrix(n: int) -> Array:
        rows = [
            [weight(abs(j + 0.5 - (i + 0.5) * factor - shift) / factor) for j in range(n)]
            for i in range(n // factor)
        ]
        return np.array(rows) / np.sum(rows, axis=1, keepdims=True)

    return matrix(x.shape[-2]) @ x @ matrix(x.shape[-1]).T


def convolve(x: Array, psf: Tensor, boundary: Boundary = Boundary.CIRCULAR) -> Array:
    """By SciPy, with one PSF `(kh, kw)` or one per lane `(b, kh, kw)`."""
    each = np.broadcast_to(psf, (len(x), *psf.shape[-2:]))
    return planes(x, lambda p, i: scipy.ndimage.convolve(p, each[i], mode=SCIPY[boundary]))


def blur(psf: Callable[[int], Tensor], boundary: Boundary = Boundary.CIRCULAR) -> Reference:
    """`convolve`, with the PSFs for a number of lanes."""
    return lambda x, _: convolve(x, psf(len(x)), boundary)


def transposed(forward: Reference) -> Reference:
    """The transpose of a function that keeps the shape, by its matrix, column by column."""

    def reference(y: Array, operator: Operator) -> Array:
        basis = np.eye(y[0].size).reshape(-1, 1, *y.shape[1:])
        columns = [forward(np.broadcast_to(e, y.shape), operator) for e in basis]
        rows = np.stack(columns).reshape(len(basis), len(y), -1)
        return np.einsum("kbm,bm->bk", rows, y.reshape(len(y), -1)).reshape(y.shape)

    return reference


def varying(psfs: Callable[[int], Tensor], boundary: Boundary) -> Reference:
    """Every pixel spreads by a PSF of its own, interpolated between the nodes `(rows, columns)`."""

    def hat(nodes: int, n: int) -> Array:
        place = np.linspace(0, nodes - 1, n) if nodes > 1 else np.zeros(n)
        return np.array([np.interp(place, np.arange(nodes), row) for row in np.eye(nodes)])

    def one(plane: Array, grid: Array) -> Array:
        down, across = hat(grid.shape[0], plane.shape[0]), hat(grid.shape[1], plane.shape[1])
        parts = [
            scipy.ndimage.convolve(
                np.outer(down[i], across[j]) * plane, grid[i, j], mode=SCIPY[boundary]
            )
            for i, j in np.ndindex(grid.shape[:2])
        ]
        return np.sum(parts, axis=0)

    def reference(x: Array, _: Operator) -> Array:
        each = np.broadcast_to(psfs(len(x)), (len(x), *psfs(len(x)).shape[-4:]))
        return planes(x, lambda plane, i: one(plane, each[i]))

    return reference


def bayer(pattern: BayerPattern) -> Reference:
    """Every second row and column of each color."""

    def reference(x: Array, _: Operator) -> Array:
        y = np.zeros_like(x)
        for letter, (i, j) in zip(pattern.value, np.ndindex(2, 2), strict=True):
            channel = "RGB".index(letter)
            y[:, channel, i::2, j::2] = x[:, channel, i::2, j::2]
        return y

    return reference


def hadamard(x: Array, operator: Operator) -> Array:
    """Dense: SciPy's Hadamard matrix times a Hartley matrix for the odd part of the size."""
    drawn = {name: np.atleast_2d(value) for name, value in operator.named_buffers()}
    n = x[0].size
    power = n & -n
    f = scipy.linalg.dft(n // power, scale="sqrtn")
    matrix = np.kron(scipy.linalg.hadamard(power) / power**0.5, f.real - f.imag)
    lanes = []
    for i, flat in enumerate(x.reshape(len(x), -1)):
        signs, order, rows = (
            v[i % len(v)] for v in (drawn["signs"], drawn["order"], drawn["rows"])
        )
        lanes.append((matrix @ (signs * flat)[order])[rows])
    return np.stack(lanes)


def random_fourier(x: Array, operator: Operator) -> Array:
    """NumPy's transform: the real part, or of the second of a pair k, -k the imaginary part."""
    rows = np.atleast_2d(operator.get_buffer("rows"))
    size = x.shape[-2:]
    f = np.fft.fft2(x, norm="ortho")
    z = np.empty_like(x)
    for k in np.ndindex(size):
        mirror = (-k[0] % size[0], -k[1] % size[1])
        value = f[..., mirror[0], mirror[1]]
        part = value.real if k <= mirror else value.imag
        z[..., k[0], k[1]] = part if k == mirror else 2**0.5 * part
    flat = z.reshape(*x.shape[:2], -1)
    return np.stack([lane[:, rows[i % len(rows)]] for i, lane in enumerate(flat)])


def block_gaussian(x: Array, operator: Operator) -> Array:
    """Each block times the matrix that was drawn."""
    basis, m = np.asarray(operator.get_buffer("basis")), len(operator.get_buffer("rows"))
    basis = np.broadcast_to(basis, (len(x), *basis.shape[-2:]))[:, :m]
    b, c, h, w = x.shape
    side = round(basis.shape[-1] ** 0.5)
    blocks = x.reshape(b, c, h // side, side, w // side, side).swapaxes(3, 4)
    flat = blocks.reshape(b, c, h // side, w // side, -1)
    return np.einsum("bmn,bchwn->bchwm", basis, flat)


def as_complex(x: Array) -> Array:
    """Of pairs (real, imaginary) along axis -3."""
    return np.asarray(x[..., 0, :, :] + 1j * x[..., 1, :, :])


def mri(mask: Callable[[int], Tensor], maps: Callable[[int], Tensor] | None = None) -> Reference:
    """The centered orthonormal transform by NumPy, masked; of every coil if there are maps."""

    def reference(x: Array, _: Operator) -> Array:
        b, z, m = len(x), as_complex(x), np.asarray(mask(len(x)))
        if maps is not None:
            s = as_complex(np.asarray(maps(b)))
            z, m = s * z[:, None], m[:, None] if m.ndim == 3 else m
        f = np.fft.fft2(np.fft.ifftshift(z, axes=(-2, -1)), norm="ortho")
        f = m * np.fft.fftshift(f, axes=(-2, -1))
        return np.stack([f.real, f.imag], -3)

    return reference


def radon(
    angles: Callable[[int], Any],
    *,
    spacing: float = 1.0,
    detectors: int | None = None,
    center: float | None = None,
    axis: float | None = None,
    circle: bool = True,
) -> Reference:
    """Joseph's method, line by line: linear interpolation by SciPy at every row (or column)."""

    def view(plane: Array, degrees: float) -> Array:
        n, (c, s) = len(plane), (np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees)))
        d = n if detectors is None else detectors
        middle = n // 2 if center is None else center
        seen = (d // 2 if center is None else center + (d - n) / 2) if axis is None else axis
        steps = np.arange(n)
        wide = np.pad(plane, 3 * n)
        sums = []
        for offset in np.arange(d) - seen:
            if abs(c) >= abs(s):
                at = steps, middle + (offset + (steps - middle) * s) / c
            else:
                at = middle + ((steps - middle) * c - offset) / s, steps
            taken = scipy.ndimage.map_coordinates(wide, np.array(at) + 3 * n, order=1)
            sums.append(spacing * taken.sum() / max(abs(c), abs(s)))
        return np.array(sums)

    def reference(x: Array, _: Operator) -> Array:
        turns = np.broadcast_to(angles(len(x)), (len(x), np.shape(angles(len(x)))[-1]))
        place = np.arange(x.shape[-1]) - x.shape[-1] // 2
        inside = np.add.outer(place**2, place**2) <= (x.shape[-1] // 2) ** 2
        x = np.where(inside, x, 0) if circle else x
        return planes(x, lambda plane, i: np.stack([view(plane, turn) for turn in turns[i]]))

    return reference


def moduli(z: Array, oversampling: float = 1.0) -> Array:
    """|F z|, orthonormal, of z padded with zeros."""
    sides = [int(oversampling * n + 0.5) for n in z.shape[-2:]]
    return np.asarray(np.abs(np.fft.fft2(z, s=sides, norm="ortho")))


def gamma(x: Array, exponent: Array, low: float, high: float, toe: float) -> Array:
    """A power, a line below the toe, and the tangent above white."""
    u = (x - low) / (high - low)
    with np.errstate(invalid="ignore"):
        curve = [u * toe ** (exponent - 1), 1 + exponent * (u - 1)]
        y = np.select([u < toe, u > 1], curve, np.abs(u) ** exponent)
    return low + (high - low) * y


def quantise(x: Array, levels: Sequence[int]) -> Array:
    """The nearest of so many levels of each lane, from -1 to 1."""
    grids = [np.linspace(-1, 1, n) for n in levels]
    nearest = [np.abs(one[..., None] - g).argmin(-1) for one, g in zip(x, grids, strict=True)]
    return np.stack([g[i] for g, i in zip(grids, nearest, strict=True)])


def jpeg(quality: Callable[[int], int], subsampling: str) -> Reference:
    """Written and read by Pillow; the quality is a function of the lane."""

    def reference(x: Array, _: Operator) -> Array:
        shown = []
        for i, one in enumerate(x):
            pixels = ((one + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
            file = io.BytesIO()
            picture = Image.fromarray(np.moveaxis(pixels, 0, 2))
            picture.save(file, "JPEG", quality=quality(i), subsampling=subsampling)
            with Image.open(file) as read:
                shown.append(np.moveaxis(np.asarray(read), 2, 0) / 127.5 - 1)
        return np.stack(shown)

    return reference


def jpeg_coefficients(quality: Callable[[int], int], rows: int = 1, columns: int = 1) -> Reference:
    """SciPy's cosine transform of BT.601 luma and chroma, over the tables of Pillow's files."""

    def reference(x: Array, _: Operator) -> Array:
        return np.stack(
            [_unit_rows(one, _tables(quality(i)), rows, columns) for i, one in enumerate(x)]
        )

    return reference


def _tables(quality: int) -> list[Array]:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
    with Image.open(file) as read:
        return [np.array(read.quantization[i]).reshape(8, 8) for i in (0, 1)]


def _unit_rows(x: Array, tables: list[Array], rows: int, columns: int) -> Array:
    """Of one picture `(c, h, w)`: units in rows, each with its luma blocks, then Cb, then Cr."""
    levels = 127.5 * x
    if len(x) == 1:
        parts = [(levels[0], tables[0], 1, 1)]
    else:
        luma = np.tensordot([0.299, 0.587, 0.114], levels, 1)
        chroma = (levels[2] - luma) / 1.772, (levels[0] - luma) / 1.402
        small = [block_mean(c[None, None], rows, columns)[0, 0] for c in chroma]
        parts = [(luma, tables[0], rows, columns), *((c, tables[1], 1, 1) for c in small)]
    high, wide = x.shape[1] // (8 * rows), x.shape[2] // (8 * columns)
    units = np.empty((high, wide), dtype=object)
    for r, q in product(range(high), range(wide)):
        found = []
        for plane, table, down, across in parts:
            for i, j in product(range(down), range(across)):
                top, left = 8 * (down * r + i), 8 * (across * q + j)
                block = plane[top : top + 8, left : left + 8]
                found.append((scipy.fft.dctn(block, norm="ortho") / table).ravel())
        units[r, q] = np.concatenate(found)
    return np.array(units.tolist())


def nonlinear_blur(length: float) -> Reference:
    """Motion blurs by SciPy, mixed by the small network that was drawn, pixel by pixel."""

    def reference(x: Array, operator: Operator) -> Array:
        names = ("first", "bias", "second")
        drawn = [np.asarray(operator.get_buffer(name)) for name in names]
        kernels = [motion_psf(0.0, 0.0), *(motion_psf(length, a) for a in (0.0, 45.0, 90.0, 135.0))]
        blurred = [convolve(x, k, Boundary.REPLICATE) for k in kernels]
        mean = x.mean(1, keepdims=True)
        smooth = convolve(mean, gaussian_psf(length / 3), Boundary.REPLICATE)[:, 0]
        framed = np.pad(smooth, ((0, 0), (1, 1), (1, 1)), mode="edge")
        y = np.zeros_like(x)
        for lane, i, j in np.ndindex(smooth.shape):
            first, bias, second = (v[lane % len(v)] for v in drawn)
            hidden = np.tanh(first @ framed[lane, i : i + 3, j : j + 3].ravel() + bias[:, 0])
            weights = scipy.special.softmax(second @ hidden)
            y[lane, :, i, j] = weights @ np.stack([v[lane, :, i, j] for v in blurred])
        return y

    return reference
