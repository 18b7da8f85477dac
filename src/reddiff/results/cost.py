"""What a run cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """The cost of a run.

    Arguments:
        evaluations: Network evaluations of each lane.
        vjps: Backward passes through the network of each lane.
        seconds: Wall-clock time.
        peak_bytes: Peak memory above that at the start: of the process on a CPU (Linux only), of
            the allocator on CUDA; None if it is not known, or too little to be measured.
        decodings: Evaluations of the decoder of a latent problem, of each lane.
        decoder_vjps: Products with the decoder's Jacobian or its transpose, of each lane.
    """

    evaluations: tuple[int, ...]
    vjps: tuple[int, ...]
    seconds: float
    peak_bytes: int | None
    decodings: tuple[int, ...] = ()
    decoder_vjps: tuple[int, ...] = ()
