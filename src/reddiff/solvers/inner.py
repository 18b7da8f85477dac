"""What solvers with an inner solve say of it."""

from __future__ import annotations

from jaxtyping import Bool
from torch import Tensor


def unsolved(solved: Bool[Tensor, " b"]) -> list[tuple[str, ...]]:
    """A sentence for each lane whose last data step did not reach its tolerance."""
    text = "not converged: the last data step did not reach its tolerance"
    return [() if ok else (text,) for ok in solved.tolist()]
