"""Operators in the precision of what they are applied to."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

from reddiff.operators.base import Operator

Module = TypeVar("Module", bound=nn.Module)


def lowered(operator: Operator, dtype: torch.dtype) -> Operator:
    """The operator with parameters of `dtype` in place of those of a higher precision.

    NumPy and `gaussian_psf` give float64, pictures and most networks are float32: nothing that
    float32 data could tell is lost. Parameters of a lower precision stay, and so do all of
    operators that hold modules of other kinds, which may be referred to from elsewhere. The
    operator given is not changed; it is returned where there is nothing to do.
    """
    modules = list(operator.modules())
    ours = all(isinstance(module, Operator | nn.ModuleList) for module in modules)
    higher = any(_higher(t, dtype) for module in modules for t in _parameters(module))
    return _copied(operator, dtype) if ours and higher else operator


def _parameters(module: nn.Module) -> list[torch.Tensor]:
    """The buffers that callers gave; others are in the precision that they are needed in."""
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
