"""Random numbers as a pure function of (seed, lane id, copy, step, draw number).

There is no generator state between steps. A lane therefore gets the same noise alone or in a
batch, in any order, with or without resuming, and in any process. CPU and CUDA give different
random numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require

_LIMIT = 2**63

# Numbers of steps outside of the loop, each with its own noise.
STARTING, MEASURING, DRAWING = -1, -2, -3


Fill = Callable[[Tensor, torch.Generator], Tensor]


def _normal(row: Tensor, generator: torch.Generator) -> Tensor:
    return row.normal_(generator=generator)


def _uniform(row: Tensor, generator: torch.Generator) -> Tensor:
    return row.uniform_(generator=generator)


class Rng:
    """The random number generator of one step; each call draws new numbers for all lanes.

    `Keys.at` creates it. It counts its draws and is used for a single step.
    """

    def __init__(self, prefixes: Sequence[bytes]) -> None:
        self._prefixes = prefixes
        self._draw = self._branches = 0

    def _fill(self, like: Tensor, fill: Fill) -> Tensor:
        require(
            like.shape[0] == len(self._prefixes),
            "like",
            expected=f"{len(self._prefixes)} lanes",
            got=tuple(like.shape),
        )
        out = torch.empty(like.shape, dtype=like.dtype, device=like.device)
        generator = torch.Generator(like.device)
        for row, prefix in zip(out.unbind(), self._prefixes, strict=True):
            digest = blake2b(prefix + struct.pack("<q", self._draw), digest_size=8).digest()
            generator.manual_seed(int.from_bytes(digest, "little", signed=True))
            fill(row, generator)
        self._draw += 1
        return out

    def branch(self) -> Rng:
        """Another source, for draws whose number depends on the data; it leaves this one's as is.

        A loop that goes on until its last lane is done takes its draws from a branch. Then the
        draws after the loop do not depend on how long other lanes took.
        """
        self._branches += 1
        tail = struct.pack("<q", -self._branches)
        return Rng([prefix + tail for prefix in self._prefixes])

    def randn_like(self, like: Tensor) -> Tensor:
        """Standard normal noise with the shape, dtype and device of `like` `(b, ...)`."""
        return self._fill(like, _normal)

    def rand_like(self, like: Tensor) -> Tensor:
        """Uniform noise on [0, 1) with the shape, dtype and device of `like` `(b, ...)`."""
        return self._fill(like, _uniform)


@dataclass(frozen=True)
class Keys:
    """The keys that determine the noise of each lane.

    Arguments:
        seed: A 64-bit integer.
        ids: One 64-bit integer per lane, on which its noise depends.
        copies: The index of each lane among independent runs with the same id; 0 by default.

    Raises:
        InvalidArgument: If the seed or an id is not a 64-bit integer.
    """

    seed: int
    ids: tuple[int, ...]
    copies: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, values in (("seed", (self.seed,)), ("ids", self.ids)):
            for value in values:
                require(
                    isinstance(value, int) and -_LIMIT <= value < _LIMIT,
                    name,
                    expected="integers of 64 bits",
                    got=repr(value),
                )
        if not self.copies:
            object.__setattr__(self, "copies", (0,) * len(self.ids))

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, step: int) -> Rng:
        """The random number generator of a step: 0, 1, ... or STARTING, MEASURING, DRAWING."""
        pairs = zip(self.ids, self.copies, strict=True)
        return Rng([struct.pack("<qqqq", self.seed, lane, copy, step) for lane, copy in pairs])

    def select(self, index: Sequence[int]) -> Keys:
        """The keys of the lanes at these indices, in this order."""
        ids, copies = (tuple(v[i] for i in index) for v in (self.ids, self.copies))
        return Keys(self.seed, ids, copies)

    def repeat(self, times: int, first: int = 0) -> Keys:
        """`times` copies of each lane in a row, counted from `first`, each with its own noise."""
        ids = tuple(i for i in self.ids for _ in range(times))
        return Keys(self.seed, ids, tuple(range(first, first + times)) * len(self.ids))


def drawn(like: Float[Tensor, "b *n"], number: int = 0) -> Float[Tensor, "b *n"]:
    """Reproducible standard normal numbers, for tests of operators and functions.

    Arguments:
        like: A tensor with the shape, dtype and device of the result.
        number: The seed.
    """
    return Keys(number, tuple(range(len(like)))).at(DRAWING).randn_like(like)
