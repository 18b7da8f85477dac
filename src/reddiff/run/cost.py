"""Measurement of the cost of a run: evaluations, backward passes and peak memory."""

from __future__ import annotations

import copy
import ctypes
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.operators.base import Operator
from reddiff.operators.decoder import Decoder
from reddiff.priors.base import Prior, Pullback
from reddiff.priors.covariance import Covariance
from reddiff.problem import Problem

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class Metered(Prior):
    """A prior that counts its evaluations and backward passes, row by row.

    Arguments:
        inner: The prior whose calls are counted.
    """

    def __init__(self, inner: Prior) -> None:
        super().__init__(inner.shape, inner.sigma_min, inner.sigma_max)
        self.inner = inner
        self.rows = 0
        self.pulled = 0

    @property
    def dtype(self) -> torch.dtype | None:
        return self.inner.dtype

    def denoise(self, x: Float[Tensor, "b *n"], sigma: Tensor) -> Float[Tensor, "b *n"]:
        self._made(len(x))
        with torch.no_grad():
            return self.inner.denoise(x, sigma)

    def vjp(
        self, x_t: Tensor, sigma: Tensor | float, alpha: Tensor | float = 1.0, *, once: bool = False
    ) -> tuple[Tensor, Pullback]:
        """`vjp` of the inner prior, with counting."""
        self._made(len(x_t))
        x_0, inner = self.inner.vjp(x_t, sigma, alpha, once=once)

        def pullback(v: Tensor) -> Tensor:
            self.pulled += len(v) * (self.inner.evaluations + self.inner.vjps)
            return inner(v)

        return x_0, pullback

    def _made(self, rows: int) -> None:
        self.rows += rows * self.inner.evaluations
        self.pulled += rows * self.inner.vjps

    def error_covariance(self, s: Float[Tensor, " b"], like: Float[Tensor, "b *n"]) -> Covariance:
        return self.inner.error_covariance(s, like)

    def take(self) -> tuple[int, int]:
        """The evaluations and backward passes since the last call."""
        counts = self.rows, self.pulled
        self.rows = self.pulled = 0
        return counts


class Decodings:
    """Counts, in rows, the decodings of a latent problem and products with the Jacobian."""

    rows = pulled = 0

    def of(self, problem: Problem) -> Problem:
        """The problem with counting decoders, or the problem itself if it has no decoder."""
        operator = self._counted(problem.operator)
        return problem if operator is problem.operator else problem.derived(operator=operator)

    def take(self) -> tuple[int, int]:
        """The decodings and products with the decoder's Jacobian since the last call."""
        counts = self.rows, self.pulled
        self.rows = self.pulled = 0
        return counts

    def _counted(self, operator: Operator) -> Operator:
        if isinstance(operator, Decoder):
            decoder = copy.copy(operator)
            decoder.tap = self._tick
            return decoder
        parts = {
            name: self._counted(part) if isinstance(part, Operator) else part
            for name, part in operator._modules.items()
        }
        if all(part is operator._modules[name] for name, part in parts.items()):
            return operator
        new = copy.copy(operator)
        new._modules = parts
        return new

    def _tick(self, z: Tensor) -> Tensor:
        self.rows += len(z)
        ticked: Tensor = _Tick.apply(z, self)  # type: ignore[no-untyped-call]
        return ticked


class _Tick(torch.autograd.Function):
    """The identity, which counts passes through its derivatives of any order."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, counts: Decodings) -> Tensor:
        ctx.counts = counts
        return z.view_as(z)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        ctx.counts.pulled += len(grads[0])
        out: Tensor = _Tick.apply(grads[0], ctx.counts)  # type: ignore[no-untyped-call]
        return out, None


class PeakMemory:
    """Peak memory minus the memory in use at construction.

    On CUDA this is the memory of torch's allocator. On a CPU it is the resident set size of the
    process, which needs a system whose high-water mark can be reset (Linux). Free memory is
    returned to the system first, so that its reuse counts.

    Arguments:
        device: The device to watch.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.start: int | None
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.start = torch.cuda.memory_allocated(device)
        else:
            _give_back()
            self.start = _resident("VmRSS:") if self._reset() else None

    def peak(self) -> int | None:
        """The peak in bytes, relative to the start; None if it is unknown or not above it."""
        if self.start is None:
            return None
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) - self.start
        end = _resident("VmHWM:")
        return end - self.start if end is not None and end > self.start else None

    @staticmethod
    def _reset() -> bool:
        try:
            _CLEAR.write_text("5")
        except OSError:
            return False
        return True


def _resident(key: str) -> int | None:
    """An entry of /proc/self/status in bytes, or None."""
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    return None


def _give_back() -> None:
    """Return free memory to the system, if the C library supports this (glibc)."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
