"""Projection along parallel lines by Joseph's method, and back projection.

Both only gather values and never scatter them, so that no sum depends on the order of threads.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


def project(
    lines: Tensor, cos: Tensor, sin: Tensor, center: float, axis: float, detectors: int
) -> Tensor:
    """Line integrals `(b, c, j, detectors)` of images given by their rows and columns.

    `lines` is `(b, c, 2, n, n + 3)`: the rows, then the columns, each with one zero before and two
    after. The axis of rotation is at row and column `center`, and projects onto detector `axis`.
    """
    n = lines.shape[-2]
    place = torch.arange(n, device=lines.device)
    offset = torch.arange(detectors, device=lines.device).to(cos) - axis
    step = place.to(cos)[:, None] - center
    cos, sin = cos[..., None, None], sin[..., None, None]
    steep = cos.abs() >= sin.abs()  # from row to row, else from column to column
    slope, lean = torch.where(steep, cos, -sin), torch.where(steep, sin, -cos)
    where = (offset + step * lean) / slope + center  # (1 or b, j, step, detector)
    where = where.clamp(-1, n)
    first = where.floor()
    part = (where - first).to(lines.dtype)
    row = torch.where(steep, 0, n) + place[:, None]
    index = row * (n + 3) + 1 + first.long()
    low, high = _take(lines, index), _take(lines, index + 1)
    return torch.lerp(low, high, part[:, None]).sum(-2) / slope[..., 0].abs()[:, None].to(low)


def back_project(
    y: Tensor, cos: Tensor, sin: Tensor, m: Tensor, center: float, axis: float, n: int
) -> Tensor:
    """Back projection `(b, c, n, n)` of views `(b, c, j, d)`, by a tent of half-width m <= 1."""
    angles, detectors = y.shape[-2:]
    place = torch.arange(n, device=y.device).to(cos) - center
    cos, sin, m = (v[..., None, None] for v in (cos, sin, m))
    where = place * cos - place[:, None] * sin + axis  # (1 or b, j, row, column)
    where = where.clamp(-1, detectors)
    first = where.floor()
    part, m = (where - first).to(y.dtype)[:, None], m[:, None].to(y.dtype)
    row = torch.arange(angles, device=y.device)[:, None, None]
    index = row * (detectors + 3) + 1 + first.long()
    y = pad(y, (1, 2))
    high, step = 1 / m, 1 / m**2
    near, far = (high - part * step).clamp(min=0), (high - step + part * step).clamp(min=0)
    return (_take(y, index) * near + _take(y, index + 1) * far).sum(2)


def _take(values: Tensor, index: Tensor) -> Tensor:
    """Values `(b, c, ...)` at indices into the flattened last axes, the same for all channels."""
    flat = index.flatten(1)[:, None].expand(*values.shape[:2], -1)
    return values.flatten(2).gather(2, flat).view(*values.shape[:2], *index.shape[1:])
