"""Adapters that make functions of NumPy arrays or of vectors callable with tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reddiff.errors import require
from reddiff.operators.base import Shape


@dataclass(frozen=True, eq=False)
class Looped:
    """A function of tensors that calls a NumPy function lane by lane, on copies on the CPU.

    The result has the dtype and device of the first tensor.

    Arguments:
        name: The name of the function in messages.
        function: Takes one array per tensor, without the lane axis, and returns one.
    """

    name: str
    function: Callable[..., Any]

    def __call__(self, *tensors: Tensor) -> Tensor:
        first = tensors[0]
        arrays = [t.detach().cpu().numpy() for t in tensors]
        out = [self._one([a[i].copy() for a in arrays]) for i in range(len(first))]
        return torch.stack(out).to(first.device, first.dtype)

    def _one(self, arrays: list[Any]) -> Tensor:
        value = np.atleast_1d(np.asarray(self.function(*arrays)))
        expected = "an array of real numbers (a complex one is two channels, real and imaginary)"
        require(value.dtype.kind in "fiub", self.name, expected=expected, got=value.dtype)
        return torch.as_tensor(value.copy())


@dataclass(frozen=True, eq=False)
class Flat:
    """A function of arrays that calls a function of vectors and reshapes its result."""

    function: Callable[[Any], Any]
    shape: Shape

    def __call__(self, array: Any) -> Any:
        return np.reshape(self.function(array.reshape(-1)), self.shape)
