"""Random numbers for solvers with several particles per lane."""

from __future__ import annotations

from torch import Tensor

from reddiff.random import Fill, Rng


class PerParticle(Rng):
    """A random number generator for tensors whose rows are the particles of each lane in turn.

    Arguments:
        lane: The generator with one source per lane.
        particles: The number of particles per lane.
    """

    def __init__(self, lane: Rng, particles: int) -> None:
        self._lane, self._particles = lane, particles

    def _fill(self, like: Tensor, fill: Fill) -> Tensor:
        return self._lane._fill(like.unflatten(0, (-1, self._particles)), fill).flatten(0, 1)
