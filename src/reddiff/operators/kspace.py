"""Sampling masks in k-space and coil sensitivity maps, for MRI."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.errors import require, require_count
from reddiff.random import DRAWING, Keys

GOLDEN_ANGLE = 90 * (math.sqrt(5) - 1)  # degrees: 180 over the golden ratio


def cartesian_mask(
    size: tuple[int, int], acceleration: float, *, center: float = 0.08, seed: int = 0
) -> Bool[Tensor, "h w"]:
    """Random columns of k-space, w / acceleration in total, including the lowest frequencies.

    Arguments:
        size: (h, w). A column is a phase-encoding line.
        acceleration: Inverse of the fraction of columns sampled, from 1 to w.
        center: Fraction of all columns that is sampled without gaps around frequency 0; from 0 to
            1 / acceleration.
        seed: Random seed.

    Raises:
        InvalidArgument: If an argument is out of range.

    References:
        | fastMRI: https://arxiv.org/abs/1811.08839, Section 4.9
    """
    low, others, more = _columns(size, acceleration, center)
    u = Keys(seed, (0,)).at(DRAWING).rand_like(torch.empty(1, size[1], dtype=torch.float64))[0]
    return _lines(size, torch.cat([low, others[u[others].argsort()[:more]]]))


def equispaced_mask(
    size: tuple[int, int], acceleration: float, *, center: float = 0.08, offset: float = 0.5
) -> Bool[Tensor, "h w"]:
    """`cartesian_mask` with evenly spaced columns outside the center.

    Arguments:
        size: (h, w).
        acceleration: As for `cartesian_mask`.
        center: As for `cartesian_mask`.
        offset: Position of the first column in units of the spacing, in [0, 1).

    Raises:
        InvalidArgument: If an argument is out of range.
    """
    require(0 <= offset < 1, "offset", expected="a number in [0, 1)", got=offset)
    low, others, more = _columns(size, acceleration, center)
    step = len(others) / max(more, 1)
    chosen = ((torch.arange(more, dtype=torch.float64) + offset) * step).floor().long()
    return _lines(size, torch.cat([low, others[chosen]]))


def radial_mask(size: tuple[int, int], spokes: int, *, golden: bool = True) -> Bool[Tensor, "h w"]:
    """The grid points of k-space nearest to straight lines through frequency 0.

    Arguments:
        size: (h, w).
        spokes: The number of lines, at least 1.
        golden: If true, successive lines are 111.2 degrees apart, the golden angle; if not, they
            divide 180 degrees evenly.

    Raises:
        InvalidArgument: If `size` or `spokes` is out of range.

    References:
        | An Optimal Radial Profile Order Based on the Golden Ratio (Winkelmann et al., 2007)
    """
    _check_size(size)
    require_count("spokes", spokes)
    h, w = size
    turn = math.radians(GOLDEN_ANGLE if golden else 180 / spokes)
    angle = turn * torch.arange(spokes, dtype=torch.float64)[:, None]
    reach = h + w
    t = torch.arange(-reach, reach + 1, dtype=torch.float64) / 2
    rows = (h // 2 - t * angle.sin()).round().long()
    columns = (w // 2 + t * angle.cos()).round().long()
    inside = (rows >= 0) & (rows < h) & (columns >= 0) & (columns < w)
    mask = torch.zeros(h, w, dtype=torch.bool)
    mask[rows[inside], columns[inside]] = True
    return mask


def birdcage_maps(
    coils: int, size: tuple[int, int], *, radius: float = 1.6
) -> Float[Tensor, "k 2 h w"]:
    r"""Sensitivity maps of a birdcage coil, `(coils, 2, h, w)` (Re, Im), float64.

    .. math:: S_c(z) \propto \frac{1}{r - z\, e^{-i \phi_c}}, \qquad \sum_c |S_c|^2 = 1

    with :math:`z = x + i y` in units of half the longer side and :math:`\phi_c = 2 \pi c / C`.
    By the Biot-Savart law this is the field of a current in a straight rod at
    :math:`r e^{i \phi_c}`, received with circular polarization and in phase at the center.

    Arguments:
        coils: C, at least 1.
        size: (h, w).
        radius: r, greater than sqrt(2), so that no rod lies inside the image.

    Raises:
        InvalidArgument: If an argument is out of range.

    References:
        | The NMR Phased Array (Roemer et al., 1990)
    """
    _check_size(size)
    require_count("coils", coils)
    good = math.isfinite(radius) and radius > math.sqrt(2)
    require(good, "radius", expected="a finite number above sqrt(2) = 1.414", got=radius)
    h, w = size
    half = max(h, w) / 2
    x = (torch.arange(w, dtype=torch.float64) - w // 2) / half
    y = (h // 2 - torch.arange(h, dtype=torch.float64)) / half
    phi = 2 * math.pi / coils * torch.arange(coils, dtype=torch.float64)
    turn = torch.polar(torch.ones_like(phi), -phi)[:, None, None]
    maps = 1 / (radius - torch.complex(*torch.meshgrid(x, y, indexing="xy")) * turn)
    maps = maps / maps.abs().square().sum(0).sqrt()
    return torch.stack([maps.real, maps.imag], 1)


def _columns(
    size: tuple[int, int], acceleration: float, center: float
) -> tuple[Tensor, Tensor, int]:
    """The central columns, the other columns, and how many of the others to sample."""
    _check_size(size)
    width = size[1]
    good = 1 <= acceleration <= width
    require(good, "acceleration", expected=f"a number from 1 to {width}", got=acceleration)
    count = round(width / acceleration)
    middle = round(center * width) if 0 <= center <= 1 else -1
    expected = f"a number from 0 to {count / width:.4g}, the fraction sampled in total"
    require(0 <= middle <= count, "center", expected=expected, got=center)
    start = width // 2 - middle // 2
    every = torch.arange(width)
    low = (every >= start) & (every < start + middle)
    return every[low], every[~low], count - middle


def _lines(size: tuple[int, int], columns: Tensor) -> Bool[Tensor, "h w"]:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[:, columns] = True
    return mask


def _check_size(size: tuple[int, int]) -> None:
    require(min(size) >= 1, "size", expected="(h, w), at least 1 each", got=size)
