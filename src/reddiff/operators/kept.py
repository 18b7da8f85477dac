"""A cache for tensors that an operator derives from its parameters."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import final

import torch
from torch import Tensor


@final
class Kept:
    """Caches the tensor last derived from a parameter, such as the transfer function of a PSF.

    The tensor is computed again if the parameter was replaced or modified, or if the key differs.
    The cache is never pickled or copied, and belongs to one operator. Several threads may use it:
    they read and replace its content atomically.
    """

    def __init__(self) -> None:
        self._last: tuple[Tensor, Hashable, Tensor] | None = None

    def get(self, parameter: Tensor, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """The cached tensor, computed by `make` if it is missing or stale. Do not modify it.

        `make` must depend on the parameter and the key alone. Nothing is cached for a parameter
        that requires a gradient, or for one created in inference mode, whose modifications torch
        does not count.
        """
        if parameter.requires_grad or parameter.is_inference():
            return make()
        stamp = parameter._version, key
        last = self._last
        if last is None or last[0] is not parameter or last[1] != stamp:
            with torch.inference_mode(False), torch.no_grad():  # so that autograd accepts it later
                last = self._last = parameter, stamp, make()
        return last[2]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kept)  # the content follows from the parameter

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return Kept, ()
