"""Base class of priors that wrap another prior."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from reddiff.priors.base import Prior


class Around(Prior):
    """A prior that wraps another one and takes over its conditions, lanes and cost.

    Arguments:
        inner: The wrapped prior.
        shape: The shape of one x.
        sigma_min: The lowest noise level; by default that of the inner prior.
        sigma_max: The highest noise level; by default that of the inner prior.
    """

    def __init__(
        self,
        inner: Prior,
        shape: tuple[int | None, ...],
        sigma_min: float | None = None,
        sigma_max: float | None = None,
    ) -> None:
        low = inner.sigma_min if sigma_min is None else sigma_min
        high = inner.sigma_max if sigma_max is None else sigma_max
        super().__init__(shape, low, high)
        self.inner, self.values, self.trusted = inner, inner.values, inner.trusted
        self.lanes, self.evaluations, self.vjps = inner.lanes, inner.evaluations, inner.vjps
        self.differentiable = inner.differentiable

    @property
    def dtype(self) -> torch.dtype | None:
        return self.inner.dtype

    def select(self, index: Tensor) -> Prior:
        return self if self.inner.lanes is None else self._of(self.inner.select(index))

    def given(
        self,
        *,
        label: int | Tensor | None = None,
        embedding: Tensor | None = None,
        guidance: float | Tensor = 1.0,
    ) -> Prior:
        return self._of(self.inner.given(label=label, embedding=embedding, guidance=guidance))

    def _of(self, inner: Prior) -> Prior:
        """A copy that wraps another inner prior."""
        new = copy.copy(self)
        new._count(inner)
        new._modules = {**self._modules, "inner": inner}
        return new

    def _count(self, inner: Prior) -> None:
        """Set the lanes and the cost according to another inner prior."""
        times = self.evaluations // self.inner.evaluations
        self.lanes = inner.lanes
        self.evaluations, self.vjps = times * inner.evaluations, times * inner.vjps
