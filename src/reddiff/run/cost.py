"""The cost of a run: network evaluations and peak memory."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.priors.base import Prior, Pullback
from reddiff.priors.error_covariance import Covariance

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

    def denoise(self, x: Float[Tensor, "b *n"], sigma: Tensor) -> Float[Tensor, "b *n"]:
        self.rows += len(x) * self.inner.evaluations
        with torch.no_grad():
            return self.inner.denoise(x, sigma)

    def vjp(
        self, x_t: Tensor, sigma: Tensor | float, alpha: Tensor | float = 1.0, *, once: bool = False
    ) -> tuple[Tensor, Pullback]:
        """The inner prior's vjp, with a pullback that is counted."""
        self.rows += len(x_t) * self.inner.evaluations
        x_0, inner = self.inner.vjp(x_t, sigma, alpha, once=once)

        def pullback(v: Tensor) -> Tensor:
            self.pulled += len(v) * self.inner.evaluations
            return inner(v)

        return x_0, pullback

    def error_covariance(self, s: Float[Tensor, " b"], like: Float[Tensor, "b *n"]) -> Covariance:
        return self.inner.error_covariance(s, like)

    def take(self) -> tuple[int, int]:
        """The evaluations and backward passes since the last call."""
        counts = self.rows, self.pulled
        self.rows = self.pulled = 0
        return counts


class PeakMemory:
    """Peak memory, above the amount in use at construction.

    On CUDA it is that of torch's allocator. On a CPU it is the resident set size of the process,
    on systems where the high-water mark can be reset (Linux); free memory is returned to the system
    first, so that using it again counts.

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
        """Bytes above the start; None if it is unknown or did not grow."""
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
    """A number of /proc/self/status, in bytes."""
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    return None


def _give_back() -> None:
    """Return free memory to the system, if the C library supports it (glibc)."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
