"""Any torch optimiser on lanes."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import LBFGS, Optimizer

from reddiff.errors import require

MakeOptimizer = Callable[[list[Tensor]], Optimizer]
LrSchedule = Callable[[float], float]


def constant_lr(progress: float) -> float:
    """No decay."""
    return 1.0


def cosine_lr(progress: float) -> float:
    """Decay from 1 to 0 along half a cosine."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def harmonic_lr(progress: float, *, warm: float = 0.01) -> float:
    """Decay like 1 / step after the first `warm` part of the run: averages the noise away."""
    return 1 / (1 + progress / warm)


class LaneOptimizer:
    """A value `(b, ...)` and a torch optimiser that holds one parameter per lane.

    torch.optim keeps state per parameter, so lanes never mix, whatever the method reduces over.
    `step` gives a new object and leaves the old one as it was.

    Arguments:
        make: Builds the optimiser from a list of tensors, such as `partial(Adam, lr=0.1)`. LBFGS
            flattens all its parameters into one, so each lane gets one of its own; it needs
            `max_iter=1` and no line search, because a step has one gradient.
        x: The start.
        count: How many steps led to it.

    Raises:
        InvalidArgument: If LBFGS would ask for more than one gradient per step.
    """

    def __init__(self, make: MakeOptimizer, x: Float[Tensor, "b *n"], count: int = 0) -> None:
        self.make, self.count = make, count
        self.x = x.detach().clone(memory_format=torch.contiguous_format)
        self._params = [lane.detach().requires_grad_() for lane in self.x.unbind()]
        together = make(self._params)
        if isinstance(together, LBFGS):
            group = together.param_groups[0]
            single = group["max_iter"] == 1 and group["line_search_fn"] is None
            got = f"max_iter={group['max_iter']}, line_search_fn={group['line_search_fn']!r}"
            expected = "LBFGS with max_iter=1 and line_search_fn=None"
            require(single, "optimizer", expected=expected, got=got)
            self._optimizers: list[Optimizer] = [make([p]) for p in self._params]
        else:
            self._optimizers = [together]
        self._lr = [g["lr"] for g in self._optimizers[0].param_groups]

    def step(self, grad: Float[Tensor, "b *n"], lr_factor: float = 1.0) -> LaneOptimizer:
        """One step along the gradient, with the learning rate times `lr_factor`."""
        new = LaneOptimizer(self.make, self.x, self.count + 1)
        new._load([copy.deepcopy(o.state_dict()["state"]) for o in self._optimizers])
        for param, g in zip(new._params, grad.unbind(), strict=True):
            param.grad = g.clone(memory_format=torch.contiguous_format)
        for optimizer in new._optimizers:
            for group, lr in zip(optimizer.param_groups, new._lr, strict=True):
                group["lr"] = lr * lr_factor
            optimizer.step(_zero)
        for param in new._params:
            param.grad = None
        return new

    def state_dict(self) -> dict[str, Any]:
        """The value and the optimiser's state of each lane."""
        if len(self._optimizers) == 1:
            state = self._optimizers[0].state_dict()["state"]
            per_lane = [state.get(i, {}) for i in range(len(self.x))]
        else:
            per_lane = [o.state_dict()["state"].get(0, {}) for o in self._optimizers]
        return {"x": self.x, "lanes": per_lane, "count": self.count}

    @classmethod
    def from_state_dict(cls, make: MakeOptimizer, state: dict[str, Any]) -> LaneOptimizer:
        """The optimiser whose `state_dict` this is."""
        new = cls(make, state["x"], state["count"])
        lanes: Sequence[dict[str, Any]] = copy.deepcopy(state["lanes"])
        if len(new._optimizers) == 1:
            new._load([{i: lane for i, lane in enumerate(lanes) if lane}])
        else:
            new._load([{0: lane} if lane else {} for lane in lanes])
        return new

    def _load(self, states: Sequence[dict[int, Any]]) -> None:
        """Put in what `state_dict` gave, as it is: torch's own `load_state_dict` changes dtypes."""
        for optimizer, state in zip(self._optimizers, states, strict=True):
            params = [p for group in optimizer.param_groups for p in group["params"]]
            for i, value in state.items():
                optimizer.state[params[i]] = value


def _zero() -> float:
    """The closure LBFGS asks for; the gradient is there already."""
    return 0.0
