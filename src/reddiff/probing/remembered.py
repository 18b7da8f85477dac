"""A network with cached outputs, because many wirings evaluate it at the same inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b

import torch
from torch import Tensor, nn

from reddiff.priors.networks import output_of

MOST = 2**28  # largest size of the cache in bytes


class Remembered(nn.Module):
    """A network that caches its output for each row of x and its time, except for gradients.

    Arguments:
        net: The network.
        condition: The condition `(1, ...)`, if the network takes one.
    """

    def __init__(self, net: Callable[..., object], condition: Tensor | None = None) -> None:
        super().__init__()
        self.net, self.condition = net, condition
        self.rows: dict[bytes, Tensor] = {}
        self.out: object = None

    @contextmanager
    def anew(self) -> Iterator[None]:
        """Context in which the cache is ignored; the new outputs are cached afterwards."""
        known, self.rows = self.rows, {}
        try:
            yield
        finally:
            self.rows = known | self.rows

    def forward(self, x: Tensor, t: Tensor) -> object:
        if torch.is_grad_enabled():
            self.out = self._evaluated(x, t)
            return self.out
        keys = _keys(x, t)
        found = {key: self.rows[key] for key in keys if key in self.rows}
        new = [i for i, key in enumerate(keys) if key not in found]
        if new:
            index = torch.tensor(new, device=x.device)
            whole = len(new) == len(x)
            out = self._evaluated(*((x, t) if whole else (x[index], t[index])))
            if not isinstance(out, Tensor) or out.shape[:1] != (len(new),):
                self.out = out
                return out
            made = {keys[i]: row for i, row in zip(new, out, strict=True)}
            self._keep(made)
            found |= made
        self.out = torch.stack([found[key] for key in keys])
        return self.out

    def _evaluated(self, x: Tensor, t: Tensor) -> object:
        if self.condition is None:
            return output_of(self.net(x, t))
        rows = self.condition.to(x.device).expand(len(x), *self.condition.shape[1:])
        return output_of(self.net(x, t, rows))

    def _keep(self, found: dict[bytes, Tensor]) -> None:
        """Add rows to the cache, after emptying it if it would become too large."""
        one = next(iter(found.values()))
        if (len(self.rows) + len(found)) * one.nbytes > MOST:
            self.rows = {}
        self.rows |= found


def _keys(x: Tensor, t: Tensor) -> list[bytes]:
    """A hash of each row of x and its time."""
    kind = f"{x.dtype} {tuple(x.shape[1:])} {t.dtype}".encode()
    parts = [v.detach().cpu().reshape(len(x), -1) for v in (x, t)]
    rows = [p.clone(memory_format=torch.contiguous_format).view(torch.uint8).numpy() for p in parts]
    return [blake2b(kind + a.tobytes() + b.tobytes()).digest() for a, b in zip(*rows, strict=True)]
