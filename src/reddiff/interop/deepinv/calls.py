"""Call methods of a module with the tensors of selected lanes instead of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


@dataclass(frozen=True, eq=False)
class Swapped:
    """module.method(*tensors), with the named parameters replaced by the last tensors.

    Arguments:
        module: Any object; an `nn.Module` if there are names.
        method: The name of the method.
        names: The buffers or parameters that are replaced; the last tensors are their values.
    """

    module: Any
    method: str
    names: tuple[str, ...] = ()

    def __call__(self, *tensors: Tensor) -> Tensor:
        """The result of the method."""
        method: Callable[..., Tensor] = getattr(self.module, self.method)
        if not self.names:
            return method(*tensors)
        count = len(tensors) - len(self.names)
        named = {f"module.{n}": t for n, t in zip(self.names, tensors[count:], strict=True)}
        out: Tensor = functional_call(_Call(self.module, method), named, tensors[:count])
        return out


class _Call(nn.Module):
    """A module whose forward is the method of another one, as `functional_call` needs."""

    def __init__(self, module: nn.Module, method: Callable[..., Tensor]) -> None:
        super().__init__()
        self.module, self.method = module, method

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.method(*tensors)
