"""A network as a prior, defined by its training target, noise path, units and conditions."""

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
    r"""The units of a network, :math:`z = k x + c` for x in [-1, 1].

    Noise of level s in x has level k s in z. Therefore k is the same for all channels.

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
        """The units of a network trained on pixels from `low` (black) to `high` (white)."""
        got = f"{low}, {high}"
        require(low < high, "values", expected="a low end below a high one", got=got)
        return cls((high - low) / 2, (high + low) / 2)

    @classmethod
    def of_moments(cls, mean: Sequence[float], std: Sequence[float]) -> Units:
        """The units of a network trained on (pixel - mean) / std, with pixels in [0, 1].

        Raises:
            InvalidArgument: If the channels have different `std`. The noise level would then differ
                between channels.
        """
        same = max(std) - min(std) <= 1e-6 * max(std)
        expected = "one std for all channels, because the noise level is the same in all"
        require(same, "std", expected=expected, got=tuple(std))
        return cls(0.5 / std[0], [(0.5 - m) / std[0] for m in mean])

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x + self.offset.to(x)

    def back(self, z: Tensor) -> Tensor:
        """x = (z - c) / k."""
        return (z - self.offset.to(z)) / self.scale


class NetworkPrior(Prior):
    """A denoiser from a network and a description of its training.

    Arguments:
        net: `net(x_t, t)`, a module or a function, with t `(b,)`; or `net(x_t, t, condition)` if
            there are conditions. It returns a tensor, an object with a tensor `sample` (as in
            diffusers), or a tuple that starts with a tensor. If the tensor has twice the channels
            of x (a learned variance), the first half is used. A network in half precision receives
            x_t in half precision, and t in the precision of x.
        shape: The shape of one x.
        prediction: The training target.
        path: Maps a noise level to x_t and t.
        units: The units of the network; by default those of x.
        levels: The lowest and the highest noise level, in the network's units; by default those of
            the path.
        multiple: The sides of x are padded to multiples of it, by repeating the edge, and the
            output is cropped: 8 for a U-Net with three downsampling steps.
        compute: The dtype of autocast; by default that of x. `torch.bfloat16` is ignored on a CPU
            without bfloat16 instructions, which would be several times slower than float32.
        conditions: The kind of labels or embeddings that the network takes.

    Raises:
        InvalidArgument: If an argument is invalid, or, when applied, if the output of the
            network has the wrong shape.
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
        prediction.x_0(one, one, one * path.sigma_max / 2, path)  # may raise
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
        """The dtype of the parameters; None for a function, or in half precision."""
        found = self._held()
        return None if found in HALF else found

    def denoise(self, x: Float[Tensor, "b *n"], sigma: Tensor) -> Float[Tensor, "b *n"]:
        """E[x_0 | x_0 + sigma n = x], under the null condition if the network takes conditions.

        Raises:
            InvalidArgument: If it takes conditions and has no null condition.
        """
        if self.conditions is None:
            return self.conditioned(x, sigma, None)
        null = self.conditions.without()
        if null is None:
            expected = "prior.given(...), because the network takes a condition"
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
        """The network's time at noise level s, in the units of the network."""
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
