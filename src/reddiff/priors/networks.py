"""Adapters that call networks with different interfaces as one function of tensors."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from reddiff.errors import InvalidArgument, require

Network = Callable[..., Any]  # a module or a function of x, its time, and a condition if any

MOST_BETA, HIGHEST_BETA = 0.02, 0.999  # a table that rises from below these to below is of betas
SOME_STEPS, SLOWEST = 100, 0.9  # a table with this many steps and an end above it is of 1 - beta
LEARNED_SIGMA = 2  # factor on the output channels of networks with a learned variance


class Opaque:
    """A network of another library, whose output has no gradient."""


@runtime_checkable
class Sampled(Protocol):
    """An output object with a tensor `sample`, such as diffusers' UNet2DOutput."""

    sample: Tensor


def check_network(net: object, multiple: int) -> None:
    """Raise InvalidArgument unless `net` can be called and `multiple` is a positive integer."""
    good = callable(net)
    require(good, "net", expected="a module or a function of (x, t)", got=type(net).__name__)
    good = isinstance(multiple, int) and multiple >= 1
    require(good, "multiple", expected="an integer of at least 1", got=repr(multiple))


def computes_in(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether a device has instructions for a dtype, rather than emulating them."""
    if dtype is not torch.bfloat16 or device.type != "cpu":
        return True
    return _cpu_has_bfloat16()


@cache
def _cpu_has_bfloat16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def output_of(out: Any) -> Any:
    """The tensor in the output of a network: the output, its `sample`, or its first element."""
    if isinstance(out, tuple | list) and len(out) > 0:
        return out[0]
    return out.sample if not isinstance(out, Tensor) and isinstance(out, Sampled) else out


def evaluate(
    net: Network, x: Tensor, t: Tensor, multiple: int, condition: Tensor | None = None
) -> Tensor:
    """The output of a network, of the shape of x.

    Arguments:
        net: Returns a tensor, an object with a tensor `sample`, or a tuple that starts with a
            tensor. It has the channels of x, or twice as many, of which the second half (a learned
            variance) is dropped.
        x: `(b, c, ...)`.
        t: `(b,)`.
        multiple: The sides of x are padded to a multiple of it, and the output is cropped.
        condition: `(b, ...)`, if the network takes one.

    Raises:
        InvalidArgument: If the output is anything else, if the network fails for a side that is
            not a multiple of 8, or if the output has no gradient although x requires one.
    """
    sides = x.shape[2:]
    more = [-n % multiple for n in sides]
    if any(more):
        x = pad(x, [m for n in reversed(more) for m in (0, n)], mode="replicate")
    try:
        out = net(x, t) if condition is None else net(x, t, condition)
    except RuntimeError as error:
        odd = any(n % 8 for n in x.shape[2:])
        if type(error) is not RuntimeError or not odd:
            raise
        got = str(error).splitlines()[0][:120]
        form = " x ".join(str(n) for n in x.shape[2:])
        expected = f"a network that takes sides of {form} (multiple=8 pads them)"
        raise InvalidArgument("net", expected=expected, got=got) from error
    out = output_of(out)
    got = type(out).__name__
    require(isinstance(out, Tensor), "net", expected="a network that returns a tensor", got=got)
    got = f"{tuple(out.shape)} for x of {tuple(x.shape)}"
    channels = x.shape[1]
    like = out.ndim == x.ndim and len(out) == len(x) and out.shape[2:] == x.shape[2:]
    good = like and out.shape[1] in (channels, LEARNED_SIGMA * channels)
    expected = "an output of the shape of x (or of twice its channels: a learned variance)"
    require(good, "net", expected=expected, got=got)
    if x.requires_grad and torch.is_grad_enabled() and not out.requires_grad:
        got = "none, as under torch.no_grad() or from another library"
        raise InvalidArgument("net", expected="an output with a gradient", got=got)
    for axis, n in enumerate((channels, *sides), start=1):
        out = out.narrow(axis, 0, n)
    whole: Tensor = out
    return whole


def read_abar(abar: Any) -> Tensor:
    """Validate a table of alpha^2 and return it as a vector in float64.

    A last value of zero (zero terminal SNR) is dropped: there, x_t is pure noise.

    Raises:
        InvalidArgument: If the values are not a vector that decreases within (0, 1).
    """
    try:
        array = abar.detach().cpu().double() if isinstance(abar, Tensor) else np.asarray(abar)
        array = np.asarray(array)
        values = torch.as_tensor(array.astype(np.float64))
    except (TypeError, ValueError) as error:
        expected = "a vector, as a tensor, an array or a list"
        raise InvalidArgument("abar", expected=expected, got=type(abar).__name__) from error
    got = f"shape {tuple(values.shape)}"
    vector = values.ndim == 1 and len(values) >= 2
    require(vector, "abar", expected="a vector of alpha^2, two values or more", got=got)
    half = array.dtype.itemsize < 4 or (isinstance(abar, Tensor) and abar.dtype.itemsize < 4)
    expected = "float32 or float64, because half precision rounds the first steps to 1"
    require(not half, "abar", expected=expected, got="half precision")
    if values[-1] == 0:
        values = values[:-1]
    rising = 0 < float(values[0]) < MOST_BETA and float(values[-1]) <= HIGHEST_BETA
    rising = rising and bool((values.diff() >= 0).all())
    slow = len(values) >= SOME_STEPS and SLOWEST < float(values[-1]) < float(values[0]) < 1
    for bad, looks, factors in (
        (rising, "betas", "1 - betas"),
        (slow, "alphas, 1 - beta", "alphas"),
    ):
        expected = f"alpha^2, the products of 1 - beta (torch.cumprod({factors}, 0))"
        ends = f"{float(values[0]):.4g} to {float(values[-1]):.4g}"
        require(not bad, "abar", expected=expected, got=f"values that look like {looks}, {ends}")
    outside = ~((values > 0) & (values < 1))
    rises = torch.cat([outside[:1], ~(values.diff() < 0)])
    for wrong, expected in (
        (outside, "values of alpha^2 between 0 and 1"),
        (rises, "alpha^2 (the products of 1 - beta) that fall from step to step"),
    ):
        if bool(wrong.any()):
            i = int(wrong.nonzero()[0])
            some = f"{float(values[i]):.6g} at step {i} of {len(values)}"
            after = f" after {float(values[i - 1]):.6g}" if wrong is rises else ""
            raise InvalidArgument("abar", expected=expected, got=some + after)
    return values
