"""PSFs of hand-held cameras: random ones, and eight measured ones."""

from __future__ import annotations

import cmath
import math
from importlib.resources import files

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from reddiff.errors import require
from reddiff.random import DRAWING, Keys

STEPS, LENGTH, SETTLING = 2000, 60.0, 0.05  # of the random walk, before it is rescaled


def shake_psf(side: int, seed: int) -> Float64[Tensor, "side side"]:
    r"""The PSF of a random camera shake, with sum 1 and centered centroid, in float64.

    The PSF is the trace of a random walk with position x and velocity v. The speed starts at
    l = 0.03 pixels per step. At each step v changes by

    .. math:: \Delta v = a (g\, n - p\, x)\, l + k,

    where n is Gaussian noise, p pulls x back to the start, and k is a rare sudden turn: it is
    -2 v, rotated by up to half a radian, with a small probability, and 0 otherwise. The speed then
    relaxes to l within about 20 steps. (Boracchi and Foi, and Kupyn et al., keep it constant.)
    Random are the anxiety a (up to 0.1), the jitter g (up to 10), the pull p (up to 0.7), the
    probability of a turn (up to 0.2 a) and the exposure (100 to 600 steps).

    The path is then shifted and scaled such that its centroid is in the middle and it reaches an
    edge. Each point is distributed bilinearly over four pixels.

    Arguments:
        side: The side in pixels, odd, 3 or more.
        seed: Random seed, a 64-bit integer.

    Raises:
        InvalidArgument: If `side` is not an odd integer of at least 3, or `seed` not an integer.

    References:
        G. Boracchi, A. Foi, "Modeling the performance of image restoration from motion blur", IEEE
        Trans. Image Processing 21(8), 2012. O. Kupyn et al., "DeblurGAN", CVPR 2018, Algorithm 1.
    """
    good = isinstance(side, int) and side >= 3 and side % 2 == 1
    require(good, "side", expected="an odd number of pixels, 3 or more", got=side)
    path = torch.tensor(_path(seed), dtype=torch.complex128)
    at = torch.view_as_real(path)
    at = _fill(at * (side / (at - at.mean(0)).abs().max()))
    at = at - at.mean(0)
    at = at * ((side - 1) / 2 / at.abs().max())
    pixels = torch.arange(side, dtype=torch.float64) - side // 2
    tents = (1 - (at[..., None] - pixels).abs()).clamp(min=0)
    return tents[:, 0].T @ tents[:, 1] / len(at)


def levin_psf(number: int) -> Float64[Tensor, "k k"]:
    """One of eight measured PSFs of camera shake, 13 to 27 pixels a side, with sum 1, in float64.

    Arguments:
        number: 1 to 8.

    Raises:
        InvalidArgument: If `number` is not an integer from 1 to 8.

    References:
        A. Levin, Y. Weiss, F. Durand, W. T. Freeman, "Understanding and evaluating blind
        deconvolution algorithms", CVPR 2009.
    """
    good = isinstance(number, int) and 1 <= number <= 8
    require(good, "number", expected="an integer from 1 to 8", got=number)
    with (
        files("reddiff").joinpath("assets/kernels/levin09.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        psf = torch.from_numpy(arrays[f"kernel{number}"].astype(np.float64))
    return psf / psf.sum()


def _path(seed: int) -> list[complex]:
    """The positions x + i y of the random walk, one per step."""
    rng = Keys(seed, (0,)).at(DRAWING)
    u = rng.rand_like(torch.empty(1, 6, dtype=torch.float64))[0].tolist()
    anxiety, jitter, pull, turn = 0.1 * u[0], 10 * u[1], 0.7 * u[2], 0.2 * u[3]
    steps = torch.empty(1, STEPS, dtype=torch.float64)
    kicks, angles = rng.rand_like(steps)[0].tolist(), rng.rand_like(steps)[0].tolist()
    noise = (rng.randn_like(steps) + 1j * rng.randn_like(steps))[0].tolist()
    unit = LENGTH / STEPS  # l; x is in pixels, v in units of l per step
    x, v, path = 0j, cmath.rect(1, 2 * math.pi * u[4]), []
    for kick, angle, n in zip(kicks, angles, noise, strict=True):
        path.append(x)
        sudden = 2 * v * cmath.rect(1, math.pi + angle - 0.5) if kick < turn * anxiety else 0
        v += sudden + anxiety * (jitter * n - pull * x)
        v *= max(abs(v), 1e-3) ** -SETTLING
        x += unit * v
    return path[: int(STEPS * (0.05 + 0.25 * u[5]))]


def _fill(at: Float64[Tensor, "n 2"]) -> Float64[Tensor, "m 2"]:
    """A path in pixels, interpolated so that its points are at most a quarter pixel apart."""
    steps = at.diff(dim=0)
    pieces = 1 + int(4 * torch.linalg.vector_norm(steps, dim=1).max())
    part = (torch.arange(pieces, dtype=torch.float64) + 0.5) / pieces
    return (at[:-1, None] + part[:, None] * steps[:, None]).flatten(0, 1)
