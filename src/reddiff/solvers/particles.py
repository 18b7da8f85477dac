"""What solvers share that keep several particles in each lane."""

from __future__ import annotations

from torch import Tensor

from reddiff.random import Fill, Rng


class PerParticle(Rng):
    """Noise for rows that are the particles of each lane side by side.

    Arguments:
        lane: The source of the lanes' noise.
        particles: How many each lane has.
    """

    def __init__(self, lane: Rng, particles: int) -> None:
        self._lane, self._particles = lane, particles

    def _fill(self, like: Tensor, fill: Fill) -> Tensor:
        return self._lane._fill(like.unflatten(0, (-1, self._particles)), fill).flatten(0, 1)
