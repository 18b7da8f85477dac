"""A network as a prior: what it predicts, on which path, in which units, under which conditions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reddiff.errors import InvalidArgument, require
from reddiff.priors.base import Prior
from reddiff.priors.conditions import ConditionalPrior, Conditions
from reddiff.priors.networks import Network, Opaque, check_network, computes_in, evaluate
from reddiff.priors.paths import Path
from reddiff.priors.predictions import Prediction
from reddiff.schedules import SLACK, in_words

Shape = tuple[int | None, ...]
HALF = (torch.float16, torch.bfloat16)


class Units(nn.Module):
    r"""The network's pixels :math:`z = k x + c`, of x in [-1, 1].

    Noise of level s in x is noise of level k s in z, so k is one number for all channels.

    Arguments:
        scale: k, positive.
        offset: c, one number or one per channel.
    """

    offset: Tensor

    def __init__(self, scale: float, offset: float | Sequence[float] = 0.0) -> None:
        super().__init__()
        require(scale > 0, "values", expected="a scale above 0", got=scale)
        self.scale = scale
        shift = torch.as_tensor(offset, dtype=torch.float64)
        self.register_buffer("offset", shift.view(-1, 1, 1) if shift.ndim else shift, False)

    @classmethod
    def of_range(cls, low: float, high: float) -> Units:
        """For networks that know pixels from `low` (black) to `high` (white)."""
        got = f"{low}, {high}"
        require(low < high, "values", expected="a low end below a high one", got=got)
        return cls((high - low) / 2, (high + low) / 2)

    @classmethod
    def of_moments(cls, mean: Sequence[float], std: Sequence[float]) -> Units:
        """For networks of (pixel - mean) / std, with pixels in [0, 1].

        Raises:
            InvalidArgument: If the channels have different `std`: noise of one level in x would be
                noise of several in the network's pixels.
        """
        same = max(std) - min(std) <= 1e-6 * max(std)
        expected = "one std for all channels, as noise has one level for all of them"
        require(same, "std", expected=expected, got=tuple(std))
        return cls(0.5 / std[0], [(0.5 - m) / std[0] for m in mean])

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x + self.offset.to(x)

    def back(self, z: Tensor) -> Tensor:
        """The x of the network's pixels."""
        return (z - self.offset.to(z)) / self.scale


class NetworkPrior(Prior):
    """A network, and how it was trained.

    Arguments:
        net: `net(x_t, t)`, a module or a function, with t `(b,)`; or `net(x_t, t, condition)` if
            there are conditions. It gives a tensor, an output with a tensor `sample` (diffusers),
            or a tuple that begins with one; of twice the channels of x (a learned variance) the
            first half is taken. A network in half precision is given x_t in it, and t in the
            precision of x.
        shape: The shape of one x.
        prediction: What it predicts.
        path: What x_t and t are at a noise level.
        units: The network's pixels, where they are not x itself.
        levels: The lowest and the highest level, in the network's units, if they are not those of
            the path.
        multiple: Sides of x that are no multiple of it are extended for the network, by repeating
            the edge, and cut afterwards: 8 for a U-Net that halves sides three times.
        compute: The dtype the network computes in, under autocast; that of x by default. A CPU
            without bfloat16 instructions only emulates them, several times slower than float32:
            there `torch.bfloat16` is ignored.
        conditions: Labels or embeddings that the network is given.

    Raises:
        InvalidArgument: If an argument cannot be used, or (when used) the network gives another
            shape.
    """

    def __init__(
        self,
        net: Network,
        shape: Shape,
        prediction: Prediction,
        path: Path,
        *,
        units: Units | None = None,
        levels: tuple[float, float] | None = None,
        multiple: int = 1,
        compute: torch.dtype | None = None,
        conditions: Conditions | None = None,
    ) -> None:
        check_network(net, multiple)
        one = torch.ones(1, dtype=torch.float64)
        prediction.x_0(one, one, one * path.sigma_max / 2, path)  # raises where they do not fit
        scale = 1.0 if units is None else units.scale
        ends = path.sigma_min, path.sigma_max
        low, high = ends if levels is None else levels
        known = ends[0] * (1 - SLACK) <= low and high <= ends[1] * (1 + SLACK)
        wanted, got = in_words(ends, (low, high))
        good = known or not path.bounded
        require(good, "levels", expected=f"levels of the schedule, {wanted}", got=got)
        super().__init__(shape, low / scale, high / scale)
        self.net, self.prediction, self.path, self.units = net, prediction, path, units
        self.multiple, self.compute, self.conditions = multiple, compute, conditions
        self.differentiable = not isinstance(net, Opaque)

    @property
    def dtype(self) -> torch.dtype | None:
        """That of the network's parameters; None for a function, or in half precision."""
        found = self._held()
        return None if found in HALF else found

    def denoise(self, x: Float[Tensor, "b *n"], sigma: Tensor) -> Float[Tensor, "b *n"]:
        """E[x_0 | x_0 + sigma n = x], without a condition where the network takes one."""
        if self.conditions is None:
            return self.conditioned(x, sigma, None)
        null = self.conditions.without()
        if null is None:
            expected = "prior.given(...), as the network takes a condition"
            raise InvalidArgument("prior", expected=expected, got="none")
        null = null.to(x.device)
        return self.conditioned(x, sigma, null.expand(len(x), *null.shape[1:]))

    def conditioned(
        self, x: Float[Tensor, "b *n"], sigma: Tensor, condition: Tensor | None
    ) -> Float[Tensor, "b *n"]:
        """`denoise` under a condition `(b, ...)`."""
        units = self.units
        z, s = (x, sigma) if units is None else (units(x), units.scale * sigma)
        half = self.compute is not None and computes_in(self.compute, x.device)
        z_t, t = self.path.alpha(s) * z, self.path.time(s.flatten())
        held = self._held()
        if held in HALF:
            z_t = z_t.to(held)
        good = held in (None, z_t.dtype)
        require(good, "x", expected=f"{held}, as the network", got=z_t.dtype)
        with torch.autocast(x.device.type, self.compute, enabled=half):
            out = evaluate(self.net, z_t, t, self.multiple, condition)
        x_0 = self.prediction.x_0(out.to(x.dtype), z, s, self.path)
        return x_0 if units is None else units.back(x_0)

    def time(self, s: Float[Tensor, " b"]) -> Tensor:
        """The network's time at the level s, in the network's units."""
        return self.path.time(s)

    def given(
        self,
        *,
        label: int | Tensor | None = None,
        embedding: Tensor | None = None,
        guidance: float | Tensor = 1.0,
    ) -> ConditionalPrior:
        if self.conditions is None:
            expected = "a network with conditions (classes=... or embedding=... of reddiff.prior)"
            raise InvalidArgument("prior", expected=expected, got="an unconditional one")
        one = (label is None) != (embedding is None)
        require(one, "label, embedding", expected="one of them", got="both or none")
        if embedding is not None:
            rows = self.conditions.embeddings(embedding)
            shared = rows is not embedding
        elif label is not None:
            rows = self.conditions.labels(label)
            shared = torch.as_tensor(label).ndim == 0
        return ConditionalPrior(self, rows, guidance, shared)

    def _held(self) -> torch.dtype | None:
        """The dtype of the network's parameters."""
        if not isinstance(self.net, nn.Module):
            return None
        return next((p.dtype for p in self.net.parameters() if p.is_floating_point()), None)
