"""Optimization with any torch optimizer, independently for each lane."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import LBFGS, Optimizer

from reddiff.errors import require
from reddiff.snapshot import State, Tree

MakeOptimizer = Callable[[list[Tensor]], Optimizer]
LrSchedule = Callable[[float], float]


def constant_lr(progress: float) -> float:
    """A constant learning rate."""
    return 1.0


def cosine_lr(progress: float) -> float:
    """Cosine decay from 1 to 0; `progress` is the completed fraction of the run."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def harmonic_lr(progress: float, *, warm: float = 0.01) -> float:
    """Decay like 1 / step after the fraction `warm` of the run, which averages over noise."""
    return 1 / (1 + progress / warm)


@dataclass(frozen=True, eq=False)
class LaneOptimizer(State):
    """A value `(b, ...)` and the state of a torch optimizer with one parameter per lane.

    torch.optim keeps its state per parameter, so that lanes never affect each other. `step` returns
    a new object and does not modify the old one. `LaneOptimizer(x)` is the initial state.

    Arguments:
        x: The value. If there are several `rows` per lane, those of a lane are consecutive.
        memory: The state of the torch optimizer for each row.
        count: The number of steps made.
        rows: The number of parameters per lane.
    """

    x: Float[Tensor, "b *n"]
    memory: tuple[dict[str, Any], ...] = ()
    count: int = 0
    rows: int = 1

    def step(
        self, make: MakeOptimizer, grad: Float[Tensor, "b *n"], lr_factor: float = 1.0
    ) -> LaneOptimizer:
        """One step along the gradient.

        Arguments:
            make: Builds the optimizer from a list of tensors, such as `partial(Adam, lr=0.1)`; it
                must be the same at every step.
            grad: The gradient at x.
            lr_factor: A factor on the learning rate.

        Raises:
            InvalidArgument: If an LBFGS optimizer would need more than one gradient per step.
        """
        x = self.x.detach().clone(memory_format=torch.contiguous_format)
        params = [row.detach().requires_grad_() for row in x.unbind()]
        optimizers = optimizers_of(make, params)
        for param, g in zip(params, grad.unbind(), strict=True):
            param.grad = g.clone(memory_format=torch.contiguous_format)
        for optimizer, held in optimizers:
            # torch's own `load_state_dict` would change dtypes
            for i in held if self.memory else ():
                if self.memory[i]:
                    optimizer.state[params[i]] = copy.deepcopy(self.memory[i])
            for group in optimizer.param_groups:
                group["lr"] = group["lr"] * lr_factor
            optimizer.step(_zero)
        memory = {i: dict(o.state.get(params[i], {})) for o, held in optimizers for i in held}
        rows = tuple(memory[i] for i in range(len(params)))
        return LaneOptimizer(x, rows, self.count + 1, self.rows)

    def dump(self) -> Tree:
        """The value as `(b, rows, ...)`, and the optimizer state as a list per lane."""
        memory = self.memory or ({},) * len(self.x)
        each = [list(memory[i : i + self.rows]) for i in range(0, len(memory), self.rows)]
        x = self.x.unflatten(0, (-1, self.rows))
        return {"x": x, "memory": each, "count": self.count}

    @classmethod
    def load(cls, tree: Tree) -> LaneOptimizer:
        x, memory = tree["x"], tuple(row for lane in tree["memory"] for row in lane)
        return cls(x.flatten(0, 1), memory, tree["count"], x.shape[1])


def optimizers_of(
    make: MakeOptimizer, params: list[Tensor]
) -> list[tuple[Optimizer, Sequence[int]]]:
    """Torch optimizers for one parameter per lane, each with the indices of its parameters.

    A single optimizer is used for all lanes, except with LBFGS, which flattens its parameters into
    one: there, each lane gets its own. LBFGS must have `max_iter=1` and no line search, because a
    step has a single gradient.

    Raises:
        InvalidArgument: If an LBFGS optimizer has other settings.
    """
    together = make(params)
    if not isinstance(together, LBFGS):
        return [(together, range(len(params)))]
    group = together.param_groups[0]
    single = group["max_iter"] == 1 and group["line_search_fn"] is None
    got = f"max_iter={group['max_iter']}, line_search_fn={group['line_search_fn']!r}"
    expected = "LBFGS with max_iter=1 and line_search_fn=None"
    require(single, "optimizer", expected=expected, got=got)
    return [(make([p]), (i,)) for i, p in enumerate(params)]


def _zero() -> float:
    """The closure that LBFGS requires; the gradient has been computed before."""
    return 0.0
