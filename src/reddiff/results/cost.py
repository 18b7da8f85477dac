"""The cost of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """The cost of a run.

    Arguments:
        evaluations: Network evaluations per lane.
        vjps: Backward passes through the network per lane.
        seconds: Wall-clock time in seconds.
        peak_bytes: Peak memory in bytes minus that at the start: of the process on a CPU (Linux
            only), or of the allocator on CUDA. None if it is unknown or too small to be measured.
        decodings: For latent problems, evaluations of the decoder per lane.
        decoder_vjps: Products with the decoder's Jacobian or its transpose per lane.
    """

    evaluations: tuple[int, ...]
    vjps: tuple[int, ...]
    seconds: float
    peak_bytes: int | None
    decodings: tuple[int, ...] = ()
    decoder_vjps: tuple[int, ...] = ()
