"""Noise as a pure function of (seed, lane id, copy, step, draw number).

Nothing holds generator state between steps, so a lane draws the same noise alone or in a batch,
in any order, before or after a resume, in any process. CPU and CUDA give different streams.
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

# The steps that no solver makes, each with noise of its own.
STARTING, MEASURING, DRAWING = -1, -2, -3


Fill = Callable[[Tensor, torch.Generator], Tensor]


def _normal(row: Tensor, generator: torch.Generator) -> Tensor:
    return row.normal_(generator=generator)


def _uniform(row: Tensor, generator: torch.Generator) -> Tensor:
    return row.uniform_(generator=generator)


class Rng:
    """The noise source of one step: every call draws anew, for all lanes at once.

    Made by `Keys.at`; it counts its draws and is used up with its step.
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
        """Standard normal noise of the shape, dtype and device of `like` `(b, ...)`."""
        return self._fill(like, _normal)

    def rand_like(self, like: Tensor) -> Tensor:
        """Uniform noise on [0, 1) of the shape, dtype and device of `like` `(b, ...)`."""
        return self._fill(like, _uniform)


@dataclass(frozen=True)
class Keys:
    """The identity of each lane's noise.

    Arguments:
        seed: Any integer of 64 bits.
        ids: One integer per lane; a lane's noise depends on its own id alone.
        copies: Which of several independent runs on the same id each lane is; zeros by default.
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
        """The noise source of one step: 0, 1, ... or STARTING, MEASURING, DRAWING."""
        pairs = zip(self.ids, self.copies, strict=True)
        return Rng([struct.pack("<qqqq", self.seed, lane, copy, step) for lane, copy in pairs])

    def select(self, index: Sequence[int]) -> Keys:
        """The keys of some of the lanes, in the order given."""
        ids, copies = (tuple(v[i] for i in index) for v in (self.ids, self.copies))
        return Keys(self.seed, ids, copies)

    def repeat(self, times: int, first: int = 0) -> Keys:
        """`times` copies of each lane side by side, from number `first` on, each with own noise."""
        ids = tuple(i for i in self.ids for _ in range(times))
        return Keys(self.seed, ids, tuple(range(first, first + times)) * len(self.ids))


def drawn(like: Float[Tensor, "b *n"], number: int = 0) -> Float[Tensor, "b *n"]:
    """Standard normal numbers of this shape, always the same: for trying things out.

    Arguments:
        like: A tensor of the shape, dtype and device wanted.
        number: Another number gives others.
    """
    return Keys(number, tuple(range(len(like)))).at(DRAWING).randn_like(like)
