"""Functions of NumPy arrays, and of flat vectors, as functions of tensors with a lane axis."""

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
    """A function of the arrays of one lane, called lane by lane on copies, on the CPU.

    The result has the dtype and the device of the first tensor, whatever the function makes of it.

    Arguments:
        name: What the function is called in messages.
        function: Takes one array for every tensor, without the lane axis, and gives one.
    """

    name: str
    function: Callable[..., Any]

    def __call__(self, *tensors: Tensor) -> Tensor:
        """The function of every lane."""
        first = tensors[0]
        arrays = [t.detach().cpu().numpy() for t in tensors]
        out = [self._one([a[i].copy() for a in arrays]) for i in range(len(first))]
        return torch.stack(out).to(first.device, first.dtype)

    def _one(self, arrays: list[Any]) -> Tensor:
        value = np.atleast_1d(np.asarray(self.function(*arrays)))
        expected = "an array of real numbers (a complex one has two channels: its two parts)"
        require(value.dtype.kind in "fiub", self.name, expected=expected, got=value.dtype)
        return torch.as_tensor(value.copy())


@dataclass(frozen=True, eq=False)
class Flat:
    """A function of vectors as one of arrays: flat on its way in, of a shape on its way out."""

    function: Callable[[Any], Any]
    shape: Shape

    def __call__(self, array: Any) -> Any:
        """The array of the vector."""
        return np.reshape(self.function(array.reshape(-1)), self.shape)
