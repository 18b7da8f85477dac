"""Values as files hold them, and those that are missing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def missing(values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Which values are missing: nan, inf and the nodata value."""
    real = values.dtype.kind == "f"
    gone = ~np.isfinite(values) if real else np.zeros(values.shape, np.bool_)
    return gone if nodata is None else gone | (values == values.dtype.type(nodata))


def as_type(values: NDArray[Any], dtype: np.dtype[Any], nodata: float | None) -> NDArray[Any]:
    """Values in the type of a file, none of which is the nodata value."""
    if dtype.kind == "b":
        return values >= 0.5
    if dtype.kind == "f":
        found = values.astype(dtype)
        if nodata is not None:
            value = dtype.type(nodata)
            found = np.where(found == value, np.nextafter(value, dtype.type(np.inf)), found)
        return found
    info = np.iinfo(dtype)
    whole = np.rint(values).clip(info.min, info.max)
    if nodata is not None:
        up = (values >= nodata) & (nodata < info.max) | (nodata == info.min)
        whole = np.where(whole == nodata, np.where(up, nodata + 1, nodata - 1), whole)
    return whole.astype(dtype)
