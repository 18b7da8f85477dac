"""Isolation of runs from the caller's inference mode and autocast."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from itertools import chain
from typing import ParamSpec, TypeVar

import torch
from torch import nn

from reddiff.problem import Problem

P = ParamSpec("P")
R = TypeVar("R")
Module = TypeVar("Module", bound=nn.Module)

DEVICES = ("cpu", "cuda")  # devices with autocast


@contextmanager
def ordinary_modes() -> Iterator[None]:
    """Disable inference mode and autocast.

    Solvers need gradients, which inference mode forbids, and their arithmetic needs more than half
    precision. Networks in half precision enable autocast themselves, such as `EDMPrior` with
    `compute`.
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())  # as in inference mode
        for device in DEVICES:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


def ordinary(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator that runs a function in `ordinary_modes`."""

    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with ordinary_modes():
            return function(*args, **kwargs)

    return inside


def differentiable(problem: Problem) -> Problem:
    """The problem with copies of inference tensors, which autograd refuses."""
    operator = differentiable_module(problem.operator)
    if operator is problem.operator and not problem.y.is_inference():
        return problem
    return problem.derived(y=problem.y.clone(), operator=operator)


def differentiable_module(module: Module) -> Module:
    """The module, or a copy if it contains inference tensors."""
    tensors = chain(module.parameters(), module.buffers())
    return copy.deepcopy(module) if any(t.is_inference() for t in tensors) else module
