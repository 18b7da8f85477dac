"""Counting what a run takes: network evaluations and memory."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.priors.base import Prior, Pullback

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class Metered(Prior):
    """A prior that counts its rows; without gradients unless `vjp` is asked for.

    Arguments:
        inner: The prior whose calls are counted.
    """

    def __init__(self, inner: Prior) -> None:
        super().__init__(inner.shape, inner.sigma_min, inner.sigma_max)
        self.inner = inner
        self.rows = 0
        self.pulled = 0

    def denoise(self, x: Float[Tensor, "b *n"], sigma: Tensor) -> Float[Tensor, "b *n"]:
        """The inner denoiser, under no_grad."""
        self.rows += len(x)
        with torch.no_grad():
            return self.inner.denoise(x, sigma)

    def vjp(
        self, x_t: Tensor, sigma: Tensor | float, alpha: Tensor | float = 1.0
    ) -> tuple[Tensor, Pullback]:
        """The inner prior's vjp, each use of its pullback counted."""
        self.rows += len(x_t)
        x_0, inner = self.inner.vjp(x_t, sigma, alpha)

        def pullback(v: Tensor) -> Tensor:
            self.pulled += len(v)
            return inner(v)

        return x_0, pullback

    def take(self) -> tuple[int, int]:
        """The rows evaluated and pulled back since the last call."""
        counts = self.rows, self.pulled
        self.rows = self.pulled = 0
        return counts


class PeakMemory:
    """The most memory above what is in use when it is made.

    On CUDA that of torch's allocator; on a CPU the resident memory of the process, where the
    system lets its high-water mark be reset (Linux).

    Arguments:
        device: The device to watch.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.start: int | None = torch.cuda.memory_allocated(device)
        else:
            self.start = self._resident("VmRSS:") if self._reset() else None

    def peak(self) -> int | None:
        """Bytes above the start; None where the system does not tell."""
        if self.start is None:
            return None
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) - self.start
        return max(0, self._resident("VmHWM:") - self.start)

    @staticmethod
    def _reset() -> bool:
        try:
            _CLEAR.write_text("5")
        except OSError:
            return False
        return True

    @staticmethod
    def _resident(key: str) -> int:
        for line in _STATUS.read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
        scale = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
