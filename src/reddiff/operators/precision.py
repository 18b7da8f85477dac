"""Casts the parameters of operators to the precision of the data."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

from reddiff.operators.base import Operator

Module = TypeVar("Module", bound=nn.Module)


def lowered(operator: Operator, dtype: torch.dtype) -> Operator:
    """A copy of the operator whose parameters have at most the precision of `dtype`.

    NumPy and `gaussian_psf` create float64 parameters, while images and most networks are
    float32. The cast loses nothing that matters for float32 data. Parameters of lower precision
    are not changed. An operator that holds other modules, such as a network, is not changed at
    all, because those modules may be in use elsewhere. If nothing has to be cast, the operator
    itself is returned.
    """
    modules = list(operator.modules())
    ours = all(isinstance(module, Operator | nn.ModuleList) for module in modules)
    higher = any(_higher(t, dtype) for module in modules for t in _parameters(module))
    return _copied(operator, dtype) if ours and higher else operator


def _parameters(module: nn.Module) -> list[torch.Tensor]:
    """The buffers given by the caller; the others already have the precision they need."""
    internal = module._non_persistent_buffers_set
    return [t for name, t in module.named_buffers(recurse=False) if name not in internal]


def _higher(tensor: torch.Tensor, dtype: torch.dtype) -> bool:
    real = tensor.is_floating_point() and dtype.is_floating_point
    return real and torch.finfo(tensor.dtype).bits > torch.finfo(dtype).bits


def _copied(module: Module, dtype: torch.dtype) -> Module:
    new = copy.copy(module)
    given = {id(t) for t in _parameters(module)}
    new._buffers = {
        name: t.to(dtype) if t is not None and id(t) in given and _higher(t, dtype) else t
        for name, t in module._buffers.items()
    }
    new._modules = {
        name: None if inner is None else _copied(inner, dtype)
        for name, inner in module._modules.items()
    }
    return new
