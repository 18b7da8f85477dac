"""Validation of y against the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from reddiff.errors import require
from reddiff.operators.base import Operator

if TYPE_CHECKING:
    pass


def check_place(y: Tensor, operator: Operator) -> None:
    """Raise InvalidArgument unless y has the device and the dtype of the operator's parameters."""
    for module_name, module in operator.named_modules(prefix="operator"):
        for name, value in module.named_buffers(recurse=False):
            where = f"{module_name}.{name}"
            same = value.device == y.device
            require(same, "y", expected=f"device {value.device}, as {where}", got=y.device)
            internal = name in module._non_persistent_buffers_set
            typed = value.dtype == y.dtype or not value.is_floating_point() or internal
            require(typed, "y", expected=f"dtype {value.dtype}, as {where}", got=y.dtype)
