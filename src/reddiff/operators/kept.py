"""What an operator computes from its parameters once, and not at every use."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import final

import torch
from torch import Tensor


@final
class Kept:
    """The last tensor made from a parameter, such as the transfer function of a PSF.

    It is computed again if the parameter was replaced or written to, or the key differs. It is
    never pickled or copied, belongs to one operator, and may be used from several threads: they
    read and replace it as a whole.
    """

    def __init__(self) -> None:
        self._last: tuple[Tensor, Hashable, Tensor] | None = None

    def get(self, parameter: Tensor, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """What make() computes from the parameter and the key alone; not to be written to.

        Nothing is kept of a parameter with a gradient, or of one made in inference mode, which does
        not tell when it is written to.
        """
        if parameter.requires_grad or parameter.is_inference():
            return make()
        stamp = parameter._version, key
        last = self._last
        if last is None or last[0] is not parameter or last[1] != stamp:
            with torch.inference_mode(False), torch.no_grad():  # also good for autograd later
                last = self._last = parameter, stamp, make()
        return last[2]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kept)  # it says nothing that the parameter does not

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return Kept, ()
