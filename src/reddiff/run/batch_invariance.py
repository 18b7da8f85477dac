"""Batched evaluation with results that are bit-identical to those of single lanes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten

# Operations whose order of summation can depend on the number of rows, and the positions of their
# arguments with one or more rows per lane on axis 0. A row of the result depends on the same row of
# these arguments only.
_ROWS: Mapping[Any, tuple[int, ...]] = {
    _aten.convolution.default: (0,),
    _aten.addmm.default: (1,),
    _aten.mm.default: (0,),
    _aten.bmm.default: (0, 1),
    _aten.baddbmm.default: (0, 1, 2),
    _aten._fft_r2c.default: (0,),
    _aten._fft_c2c.default: (0,),
    _aten._fft_c2r.default: (0,),
    _aten.sum.dim_IntList: (0,),
    _aten.mean.dim: (0,),
    _aten.var.correction: (0,),
    _aten.linalg_vector_norm.default: (0,),
    _aten._softmax.default: (0,),
    _aten.native_layer_norm.default: (0,),
    _aten._scaled_dot_product_flash_attention_for_cpu.default: (0, 1, 2),
    _aten.convolution_backward.default: (0, 1),
    _aten.native_layer_norm_backward.default: (0, 1, 3, 4),
}
_DIMS: Mapping[Any, int] = {  # the position of the argument with the axes of the sum or FFT
    _aten._fft_r2c.default: 1,
    _aten._fft_c2c.default: 1,
    _aten._fft_c2r.default: 1,
    _aten.sum.dim_IntList: 1,
    _aten.mean.dim: 1,
    _aten.var.correction: 1,
    _aten.linalg_vector_norm.default: 2,
    _aten._softmax.default: 1,
}


class BatchInvariant(TorchDispatchMode):
    """Context in which each lane of a batch gets exactly the result that it gets alone.

    Kernels choose their algorithm, and thus the order of summation, by the shapes of their
    arguments. Rounding errors of a lane can therefore depend on the size of the batch. Each
    operation is tested once per shape, on random numbers: if its results for the batch and for
    single lanes are not bit-identical, it is evaluated lane by lane. All other operations are
    evaluated for the whole batch.

    Arguments:
        lanes: The number of lanes in a batch, at least 1.
    """

    def __init__(self, lanes: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lanes = lanes
        self.known: dict[Any, bool] = {}  # operation and arguments -> whether lanes agree

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        more = kwargs or {}
        rows = self._rows(func, args)
        if rows is None:
            return func(*args, **more)
        key = (func, tuple(map(_form, args)), tuple((k, _form(v)) for k, v in more.items()))
        if key not in self.known:
            trial = _random(args)
            whole, parts = func(*trial, **more), self._by_lane(func, trial, more, rows)
            self.known[key] = all(map(torch.equal, _tensors(whole), _tensors(parts)))
        if self.known[key]:
            return func(*args, **more)
        return self._by_lane(func, args, more, rows)

    def _rows(self, func: Any, args: Sequence[Any]) -> tuple[int, ...] | None:
        """The positions of the arguments to split; None to evaluate the operation unchanged."""
        rows = _ROWS.get(func)
        if rows is None or self.lanes == 1:
            return None
        place = _DIMS.get(func)
        if place is not None:
            dims = args[place] if place < len(args) else None
            dims = [dims] if isinstance(dims, int) else dims
            if not dims or any(dim % args[0].ndim == 0 for dim in dims):
                return None
        if func is _aten.convolution_backward.default and any(args[-1][1:]):
            return None  # gradients of weights are sums over all lanes
        good = all(args[i].ndim and len(args[i]) % self.lanes == 0 and len(args[i]) for i in rows)
        return rows if good else None

    def _by_lane(
        self, func: Any, args: Sequence[Any], more: Mapping[str, Any], rows: Sequence[int]
    ) -> Any:
        pieces = [
            a.chunk(self.lanes) if i in rows else [a] * self.lanes for i, a in enumerate(args)
        ]
        parts = [func(*lane, **more) for lane in zip(*pieces, strict=True)]
        if isinstance(parts[0], Tensor):
            return torch.cat(parts)
        return tuple(
            torch.cat(p) if isinstance(p[0], Tensor) else p[0] for p in zip(*parts, strict=True)
        )


def _form(value: Any) -> Any:
    """The properties of an argument by which kernels choose their algorithm."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype, value.device
    return tuple(map(_form, value)) if isinstance(value, list | tuple) else value


def _random(args: Sequence[Any]) -> list[Any]:
    """The arguments with random numbers in the tensors, with the same strides."""
    return [_noise(a) if isinstance(a, Tensor) else a for a in args]


def _noise(like: Tensor) -> Tensor:
    if not (like.is_floating_point() or like.is_complex()):
        return like
    size = 1 + sum((n - 1) * s for n, s in zip(like.shape, like.stride(), strict=True))
    source = torch.Generator(like.device).manual_seed(size)
    flat = torch.empty(size, dtype=like.dtype, device=like.device).normal_(generator=source)
    return flat.as_strided(like.shape, like.stride())


def _tensors(found: Any) -> list[Tensor]:
    return [
        t for t in (found if isinstance(found, list | tuple) else [found]) if isinstance(t, Tensor)
    ]
